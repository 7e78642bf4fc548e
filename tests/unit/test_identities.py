"""The identities file: what it says, and every way in which it is refused, without a secret in the refusal."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest

from sealane.identity.caller import Role
from sealane.identity.identities import Identities, parse

SECRET = "a-secret-token-of-somebody"
TOKEN = f'[[token]]\nname = "farm"\ntoken = "{SECRET}"\ntenant = "acme"\nroles = ["uploader", "reader"]\n'


def read(text: str) -> Identities:
    return parse([text.encode()])


def test_what_stands_in_it() -> None:
    found = read(
        TOKEN
        + f'[[token]]\nname = "ops"\nsha256 = "{hashlib.sha256(b"other").hexdigest()}"\ntenant = "acme"\n'
        + 'roles = ["operator"]\nexpires = 2027-01-31T00:00:00Z\n'
        + '[[spiffe]]\nid = "spiffe://example.org/ns/sealane/sa/assembly"\nroles = ["service"]\n'
        + '[[subject]]\nsub = "system:serviceaccount:films:renderer"\nroles = ["uploader"]\n'
    )
    farm = found.tokens[hashlib.sha256(SECRET.encode()).digest()]
    assert (farm.name, farm.tenant, farm.roles) == ("farm", "acme", {Role.UPLOADER, Role.READER})
    assert found.tokens[hashlib.sha256(b"other").digest()].expires == datetime(2027, 1, 31, tzinfo=UTC)
    assembly = found.spiffe["spiffe://example.org/ns/sealane/sa/assembly"]
    assert (assembly.tenant, assembly.roles) == (None, {Role.SERVICE})
    assert found.subjects["system:serviceaccount:films:renderer"].tenant is None
    assert read("") == Identities({}, {}, {})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f'token = "{SECRET}\n', "no TOML"),
        (TOKEN.replace('"farm"', "farm"), "no TOML"),
        (f"{SECRET}\n", "no TOML"),
        ("x = " + "[" * 20_000, "no TOML"),
        (TOKEN + TOKEN, "number 2: the same as one before"),
        (TOKEN.replace(SECRET, SECRET[:10]), "at least 20 characters"),
        (TOKEN + 'sha256 = "00"\n', "either token or sha256"),
        (TOKEN.replace("token =", "sha256 ="), "64 digits"),
        (TOKEN.replace('name = "farm"\n', ""), "name is a text"),
        (TOKEN.replace('"uploader"', '"admin"'), "roles is a list of some of uploader"),
        (TOKEN.replace('["uploader", "reader"]', "[]"), "roles is a list"),
        (TOKEN.replace('["uploader", "reader"]', "[[]]"), "roles is a list"),
        (TOKEN.replace('"acme"', '"Acme"'), "tenant is made of"),
        (TOKEN.replace('tenant = "acme"\n', ""), "only a service has none"),
        (TOKEN + 'expire = "never"\n', "expire: not a field"),
        (TOKEN + 'expires = "never"\n', "expires is a time"),
        ('[[spiffe]]\nid = "spiffe://example.org/*"\ntenant = "a"\nroles = ["reader"]\n', "SPIFFE id"),
        ('[[spiffe]]\nid = "https://example.org/a"\ntenant = "a"\nroles = ["reader"]\n', "SPIFFE id"),
        ("[[users]]\n", "users: not a table"),
        ('token = "x"\n', "write \\[\\[token\\]\\]"),
        ("token = [1]\n", "number 1"),
    ],
)
def test_what_is_refused_names_the_entry_and_no_token(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        read(text)
    assert SECRET not in str(refused.value)
    assert SECRET[:10] not in str(refused.value)


def test_every_fault_is_said_at_once() -> None:
    with pytest.raises(ValueError, match=r"\[\[token\]\] number 1.*\[\[spiffe\]\] number 1"):
        read(TOKEN.replace("acme", "A") + '[[spiffe]]\nid = "x"\nroles = ["reader"]\n')


def test_what_is_not_text_is_refused() -> None:
    with pytest.raises(ValueError, match="UTF-8"):
        parse([b"\xff\xfe"])
