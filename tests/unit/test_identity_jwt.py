"""Tokens of an issuer: what is verified, what is read out of them, and what no forger gets past."""

from __future__ import annotations

import base64
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import OctKey, RSAKey

from sealane.domain.errors import PermissionDenied, SealaneError, Unauthenticated
from sealane.identity.caller import Caller, Role
from sealane.identity.identities import Identities, parse
from sealane.identity.jwks import SigningKeys, parse_keys
from sealane.identity.jwt import ALGORITHMS, JwtIdentity, JwtRules, claim
from tests.jwt_issuer import AUDIENCE, EPOCH, ISSUER, NOW, Issuer


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


class Clock:
    now = NOW

    def __call__(self) -> Any:
        return self.now


class Known(SigningKeys):
    """Keys that are there: nothing is fetched."""

    def __init__(self, jwks: bytes) -> None:
        super().__init__(lambda: jwks, every=1)
        self._keys = parse_keys(jwks)
        self._began = float("inf")


class FileOf:
    """As much of Reloaded as an identity uses."""

    def __init__(self, text: str) -> None:
        self.value: Identities = parse([text.encode()])


def identity(issuer: Issuer, *, file: FileOf | None = None, clock: Clock | None = None, **changes: Any) -> JwtIdentity:
    rules: dict[str, Any] = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "algorithms": frozenset({"RS256", "ES256"}),
        "tenant_claim": "tenant",
        "roles_claim": "roles",
        "default_roles": frozenset(),
        "leeway": 30,
    }
    known = Known(issuer.jwks())
    return JwtIdentity(JwtRules(**(rules | changes)), known, file, clock or Clock())  # type: ignore[arg-type]


async def refused(of: JwtIdentity, token: str) -> SealaneError:
    with pytest.raises((Unauthenticated, PermissionDenied)) as caught:
        await of.caller(token)
    error = caught.value
    assert isinstance(error, SealaneError)
    for part in token.split("."):
        assert len(part) < 8 or part not in f"{error.message} {error.private}"
    assert error.message == type(error)().message  # one public text, whatever was wrong
    return error


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
async def test_a_good_token_is_its_tenant_with_its_roles(issuer: Issuer, alg: str) -> None:
    """Roles that are none of sealane's are other people's."""
    caller = await identity(issuer).caller(issuer.token(alg=alg))
    assert (caller.subject, caller.tenant, caller.roles) == ("farm", "acme", {Role.UPLOADER, Role.READER})
    several = issuer.token(alg=alg, aud=["other", AUDIENCE])
    assert (await identity(issuer).caller(several)).tenant == "acme"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"iss": "https://evil.example"}, "invalid_claim iss"),
        ({"iss": None}, "missing_claim iss"),
        ({"aud": "other"}, "invalid_claim aud"),
        ({"aud": ["other"]}, "invalid_claim aud"),
        ({"aud": None}, "missing_claim aud"),
        ({"exp": EPOCH - 31}, "expired_token exp"),
        ({"exp": None}, "missing_claim exp"),
        ({"exp": "never"}, "invalid_claim exp"),
        ({"exp": float("nan")}, "invalid_claim exp"),
        ({"exp": True}, "invalid_claim exp"),
        ({"nbf": EPOCH + 60}, "invalid_claim nbf"),
        ({"iat": EPOCH + 60}, "invalid_claim iat"),
        ({"sub": None}, "missing_claim sub"),
        ({"sub": ["farm"]}, "invalid_claim sub"),
        ({"sub": "two\nlines"}, "subject"),
    ],
)
async def test_each_claim_is_checked(issuer: Issuer, changes: dict[str, Any], why: str) -> None:
    """The log says which one it was; the caller hears one fixed text."""
    error = await refused(identity(issuer), issuer.token(**changes))
    assert why in error.private


async def test_clocks_may_differ_by_the_leeway_and_no_more(issuer: Issuer) -> None:
    assert await identity(issuer).caller(issuer.token(exp=EPOCH - 29))
    assert await identity(issuer).caller(issuer.token(nbf=EPOCH + 29, iat=EPOCH + 29))


def unsigned(claims: dict[str, Any], **header: Any) -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part(header)}.{part(claims)}."


async def test_no_signature_is_no_token(issuer: Issuer) -> None:
    """alg none, in any spelling, with and without a signature part."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "farm", "exp": EPOCH + 60, "tenant": "acme"}
    for alg in ("none", "None", "NONE", "nOnE", "", None):
        error = await refused(identity(issuer), unsigned(claims, alg=alg, kid="rsa"))
        assert isinstance(error, Unauthenticated)
    await refused(identity(issuer), unsigned(claims, alg="RS256", kid="rsa"))
    await refused(identity(issuer), unsigned(claims, kid="rsa"))


async def test_a_public_key_is_no_secret(issuer: Issuer) -> None:
    """HS256 with the public key's text as the secret, the classic: HMAC is not among the algorithms at all."""
    assert not any(alg.startswith("HS") or alg == "none" for alg in ALGORITHMS)
    rsa = issuer.keys["rsa"]
    assert isinstance(rsa, RSAKey)
    for secret in (rsa.as_pem(private=False), issuer.jwks("rsa")):
        signed, _, _ = issuer.token(key=OctKey.generate_key(256), alg="HS256", header={"kid": "rsa"}).rpartition(".")
        mac = base64.urlsafe_b64encode(hmac.digest(secret, signed.encode(), "sha256")).rstrip(b"=").decode()
        error = await refused(identity(issuer), f"{signed}.{mac}")
        assert "algorithm is not allowed" in error.private


async def test_an_algorithm_that_is_not_listed_is_refused_though_the_key_fits(issuer: Issuer) -> None:
    await refused(identity(issuer), issuer.token(alg="PS256"))
    await refused(identity(issuer, algorithms=frozenset({"ES256"})), issuer.token(alg="RS256"))
    ec_as_rsa = issuer.token(alg="ES256", header={"kid": "rsa"})
    await refused(identity(issuer), ec_as_rsa)


async def test_another_issuers_key_is_refused_whatever_it_calls_itself(issuer: Issuer) -> None:
    forged = Issuer().token()
    assert "bad_signature" in (await refused(identity(issuer), forged)).private
    own = RSAKey.generate_key(2048, {"kid": "mine"})
    public = own.as_dict(private=False)
    error = await refused(identity(issuer), issuer.token(key=own, header={"jwk": public, "kid": "mine"}))
    assert "not in the JWK set" in error.private
    await refused(identity(issuer), issuer.token(key=own, header={"jwk": public, "kid": "rsa"}))


async def test_a_changed_byte_is_refused(issuer: Issuer) -> None:
    token = issuer.token()
    header, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["tenant"] = "other"
    other = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    await refused(identity(issuer), f"{header}.{other}.{signature}")


async def test_a_critical_header_that_nobody_understands_is_refused(issuer: Issuer) -> None:
    """RFC 7515: what is critical must be understood; what is not may be ignored."""
    assert await identity(issuer).caller(issuer.token(header={"vendor": "x"}))
    await refused(identity(issuer), issuer.token(header={"crit": ["vendor"], "vendor": "x"}))


@given(st.one_of(st.text(), st.from_regex(r"eyJ[\w-]*\.[\w-]*\.[\w-]*")))
async def test_no_garbage_is_anything_but_unauthenticated(garbage: str) -> None:
    with pytest.raises(Unauthenticated):
        await GARBAGE.caller(garbage)


async def test_nested_and_endless_parts_are_unauthenticated(issuer: Issuer) -> None:
    nested = base64.urlsafe_b64encode(b"[" * 5000).rstrip(b"=").decode()
    deep = base64.urlsafe_b64encode(b'{"a":' * 100_000).rstrip(b"=").decode()
    good = issuer.token().split(".")
    for token in (f"{nested}.{nested}.{nested}", f"{good[0]}.{deep}.{good[2]}", f"{deep}.{good[1]}.{good[2]}"):
        await refused(identity(issuer), token)


async def test_a_kubernetes_token_is_its_namespace(issuer: Issuer) -> None:
    """A projected token as the API server makes it: no roles in it, and a claim with a dot in its name."""
    token = issuer.token(
        sub="system:serviceaccount:films:renderer",
        tenant=None,
        roles=None,
        aud=[AUDIENCE],
        **{
            "kubernetes.io": {
                "namespace": "films",
                "pod": {"name": "renderer-0", "uid": "6f3c"},
                "serviceaccount": {"name": "renderer", "uid": "92a1"},
            }
        },
    )
    of = identity(
        issuer,
        tenant_claim="/kubernetes.io/namespace",
        roles_claim="",
        default_roles=frozenset({Role.UPLOADER, Role.READER}),
    )
    caller = await of.caller(token)
    assert (caller.tenant, caller.roles) == ("films", {Role.UPLOADER, Role.READER})
    assert caller.subject == "system:serviceaccount:films:renderer"


async def test_a_subject_that_is_written_down_goes_before_its_claims(issuer: Issuer) -> None:
    """How a service account becomes a service, though its namespace would be a tenant; revoked, it is refused."""
    file = FileOf('[[subject]]\nsub = "farm"\nroles = ["service"]\n')
    caller = await identity(issuer, file=file).caller(issuer.token(tenant=None))
    assert (caller.roles, caller.tenant) == ({Role.SERVICE}, None)
    caller.recheck()
    file.value = parse([b""])
    with pytest.raises(Unauthenticated):
        caller.recheck()


async def test_no_claim_makes_a_service_of_anybody(issuer: Issuer) -> None:
    """It would be every tenant's, and many an issuer calls its machine accounts so."""
    for roles in ("service", ["service"], ["service", "reader"]):
        caller = await identity(issuer).caller(issuer.token(roles=roles))
        assert Role.SERVICE not in caller.roles
        error = await refused(identity(issuer), issuer.token(roles=roles, tenant=None))
        assert isinstance(error, PermissionDenied)


async def test_a_subjects_entry_expires_and_its_claims_do_not_take_its_place(issuer: Issuer) -> None:
    clock = Clock()
    file = FileOf('[[subject]]\nsub = "farm"\ntenant = "acme"\nroles = ["reader"]\nexpires = 2027-01-01T00:00:10Z\n')
    of = identity(issuer, file=file, clock=clock)
    caller = await of.caller(issuer.token())
    clock.now = NOW + timedelta(seconds=10)
    assert isinstance(await refused(of, issuer.token()), PermissionDenied)
    with pytest.raises(PermissionDenied):
        caller.recheck()


async def test_a_token_without_a_tenant_is_nobodys(issuer: Issuer) -> None:
    for tenant in (None, "", "Acme", "../x", 7, ["acme"], "x" * 64):
        error = await refused(identity(issuer), issuer.token(tenant=tenant))
        assert isinstance(error, PermissionDenied)


@pytest.mark.parametrize(
    ("value", "roles"),
    [
        ("uploader reader", {Role.UPLOADER, Role.READER}),
        (["operator"], {Role.OPERATOR}),
        ([], set()),
        ("", set()),
        ({"uploader": True}, set()),
        ([["uploader"]], set()),
        (None, {Role.READER}),
    ],
)
async def test_roles_are_a_list_or_words_and_the_default_is_for_none_at_all(
    issuer: Issuer, value: Any, roles: set[Role]
) -> None:
    of = identity(issuer, default_roles=frozenset({Role.READER}))
    assert (await of.caller(issuer.token(roles=value))).roles == roles


async def test_a_token_that_expires_is_refused_at_the_next_check(issuer: Issuer) -> None:
    clock = Clock()
    caller: Caller = await identity(issuer, clock=clock).caller(issuer.token())
    clock.now = NOW + timedelta(seconds=3629)
    caller.recheck()
    clock.now = NOW + timedelta(seconds=3630)
    with pytest.raises(Unauthenticated):
        caller.recheck()


def test_a_claim_is_a_name_or_a_json_pointer() -> None:
    claims = {"a.b/c": {"~x": "found"}, "/odd": 1, "list": [1]}
    assert claim(claims, "/a.b~1c/~0x") == "found"
    assert claim(claims, "a.b/c") == {"~x": "found"}
    for nothing in ("/a", "/list/0", "/a.b~1c/~0x/deeper", "b"):
        assert claim(claims, nothing) is None


GARBAGE = identity(Issuer())
