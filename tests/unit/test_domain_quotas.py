"""Quotas: everybody's default, and what some tenants have instead."""

from __future__ import annotations

from sealane.domain.quotas import Quota, Quotas


def test_a_tenant_without_an_override_has_the_default_and_without_a_default_as_much_as_there_is() -> None:
    assert Quotas().of("acme") == Quota(None, None, None, None)
    assert Quotas(Quota(open_sessions=5)).of("acme") == Quota(open_sessions=5)


def test_an_override_is_the_default_but_for_its_own_fields() -> None:
    quotas = Quotas(Quota(open_sessions=5, requests_per_second=2.5), {"acme": {"open_sessions": 9}})
    assert quotas.of("acme") == Quota(open_sessions=9, requests_per_second=2.5)
    assert quotas.of("globex") == Quota(open_sessions=5, requests_per_second=2.5)


def test_new_overrides_take_the_place_of_all_old_ones() -> None:
    quotas = Quotas(Quota(open_sessions=5), {"acme": {"open_sessions": 9}})
    quotas.override({"globex": {"stored_bytes_per_day": None, "bytes_in_flight": 7}})
    assert quotas.of("acme") == Quota(open_sessions=5)
    assert quotas.of("globex") == Quota(open_sessions=5, bytes_in_flight=7)
    quotas.override({})
    assert quotas.of("globex") == Quota(open_sessions=5)
