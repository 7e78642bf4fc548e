"""What the SDK puts into a request, and what it refuses to: text that no message can carry, preconditions of no key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sealane.client import errors
from sealane.client.upload_request import UploadRequest
from sealane.client.wire_text import wire_id

LONE = "a\ud800"
"""A lone surrogate: what Python makes of a file name that is no UTF-8."""
PLAIN = UploadRequest(filename="a", size=1)


@pytest.mark.parametrize(
    ("values", "refusal", "field"),
    [
        ({"filename": LONE}, errors.InvalidFilename, "filename"),
        ({"content_type": LONE}, errors.InvalidRequest, "content_type"),
        ({"metadata": {LONE: "v"}}, errors.InvalidMetadata, "metadata"),
        ({"metadata": {"n": LONE}}, errors.InvalidMetadata, "metadata"),
        ({"object_key": LONE}, errors.InvalidObjectKey, "object_key"),
    ],
)
def test_text_that_is_no_unicode_is_refused_by_the_fields_own_error(
    values: dict[str, Any], refusal: type[errors.InvalidRequest], field: str
) -> None:
    with pytest.raises(refusal) as refused:
        replace(PLAIN, **values).proto("r")
    assert type(refused.value) is refusal
    assert refused.value.field == field
    refused.value.message.encode()


def test_ids_that_no_message_can_carry_are_refused() -> None:
    with pytest.raises(errors.InvalidSessionId):
        wire_id(LONE)
    assert wire_id("../etc") == "../etc", "what an id may look like is the server's to say"
    with pytest.raises(errors.InvalidRequest):
        PLAIN.proto(LONE)


@pytest.mark.parametrize("request_id", [LONE, "naïve", "a\nb", "x" * 129])
def test_a_request_id_that_no_header_can_carry_is_refused_before_anything_is_opened(request_id: str) -> None:
    """It rides in every call's metadata, where gRPC itself would fail."""
    with pytest.raises(errors.InvalidRequest):
        replace(PLAIN, request_id=request_id)


def test_a_precondition_needs_a_key_and_is_one_thing() -> None:
    for values in ({"overwrite": True}, {"if_generation_match": 0}, {"object_key": "", "overwrite": True}):
        with pytest.raises(errors.InvalidRequest):
            replace(PLAIN, **values)
    with pytest.raises(errors.InvalidObjectKey):  # a variable that was never set is no wish for a key of its own
        replace(PLAIN, object_key="")
    with pytest.raises(errors.InvalidRequest):
        replace(PLAIN, object_key="k", overwrite=True, if_generation_match=1)


def test_the_precondition_goes_out_as_it_was_given() -> None:
    keyed = replace(PLAIN, object_key="k")
    assert not keyed.proto("r").HasField("if_generation_match")
    assert replace(keyed, if_generation_match=0).proto("r").HasField("if_generation_match")
    assert replace(keyed, if_generation_match=3).proto("r").if_generation_match == 3
    assert replace(keyed, overwrite=True).proto("r").overwrite
    assert not PLAIN.proto("r").object_key


def test_uploads_resume_each_other_only_with_the_same_key_and_precondition() -> None:
    keyed = replace(PLAIN, object_key="k")
    different = [
        PLAIN,
        keyed,
        replace(keyed, object_key="l"),
        replace(keyed, if_generation_match=1),
        replace(keyed, if_generation_match=2),
        replace(keyed, overwrite=True),
        replace(PLAIN, metadata={"k": "v"}),
    ]
    assert len({request.digest() for request in different}) == len(different)
    assert keyed.digest() == replace(keyed, if_generation_match=0).digest(), "0 is the default"
