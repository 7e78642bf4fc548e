"""The S3 policies of deploy/s3-policies: all calls allowed, all rights used, a real store that enforces them."""
