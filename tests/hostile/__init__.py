"""Input that means harm: bytes on the wire, lies about chunks, colliding chunks, forged records."""
