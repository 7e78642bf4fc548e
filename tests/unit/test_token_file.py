"""A token in a file: read again when it changes, kept while it can't be read, and nothing but a token."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sealane.identity.bearer import bearer_token, looks_like_jwt
from sealane.rpc.token_file import TokenFile


def test_it_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one\n")
    token = TokenFile(path)
    assert (token(), token()) == ("one", "one")
    (tmp_path / "new").write_text("two")
    os.replace(tmp_path / "new", path)
    assert token() == "two"


def test_while_it_cannot_be_read_the_last_one_stands(tmp_path: Path) -> None:
    """Whoever renews it may be in the middle of that."""
    path = tmp_path / "token"
    with pytest.raises(OSError, match="token"):
        TokenFile(path)()
    path.write_text("one")
    token = TokenFile(path)
    assert token() == "one"
    path.write_text("")
    assert token() == "one"
    path.unlink()
    assert token() == "one"


@pytest.mark.parametrize("content", [b"", b"  \n", b"two words", b"a\nb", b"\xff", b"x" * 20_000])
def test_what_cannot_stand_in_a_header_is_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(ValueError, match="no bearer token") as refused:
        TokenFile(tmp_path / "token")()
    assert "words" not in str(refused.value)


def test_a_bearer_token_is_what_follows_the_scheme() -> None:
    """Schemes have no case (RFC 9110)."""
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert bearer_token([("x", "y"), ("authorization", f"{scheme} abc")]) == "abc"
    assert bearer_token([("x", "y")]) is None


def test_three_parts_that_begin_as_json_are_a_jwt() -> None:
    assert looks_like_jwt("eyJhbGciOiJSUzI1NiJ9.e30.c2ln")
    for other in ("eyJ", "a.b.c", "eyJ.b", "secret-token"):
        assert not looks_like_jwt(other)
