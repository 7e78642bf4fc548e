"""Text that a message can carry."""

from __future__ import annotations

from sealane.client.errors import InvalidRequest, InvalidSessionId


def wire_text(value: str, refusal: type[InvalidRequest], field: str) -> str:
    """``value``; ``refusal`` if it is no Unicode text. Python has such strings (lone surrogates), protobuf has not."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise refusal(f"{field} is not valid Unicode. Give another one.", field=field) from None
    return value


def wire_id(session_id: str) -> str:
    """A session's id; InvalidSessionId if no message can carry it. What it may look like is the server's to say."""
    return wire_text(session_id, InvalidSessionId, "session_id")
