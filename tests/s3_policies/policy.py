"""An IAM policy as S3 judges it, and which action each request of the S3 API is.

Amazon S3 User Guide, "Required permissions for Amazon S3 API operations": which action an operation needs. IAM User
Guide, "Policy evaluation logic": how policies are judged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

FOLDER = Path(__file__).parents[2] / "deploy" / "s3-policies"
ARN = "arn:aws:s3:::"


@dataclass(frozen=True, slots=True)
class Use:
    """One right that a request needs."""

    action: str
    resource: str


def use_of(method: str, path: str, query: str) -> Use:
    """The right that a request needs; ValueError for a request that no right of ours is meant for."""
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    asked = parse_qs(query, keep_blank_values=True)
    resource = f"{ARN}{bucket}/{key}" if key else f"{ARN}{bucket}"
    match method, bool(key), "uploadId" in asked:
        case "GET", False, _ if "list-type" in asked:
            return Use("s3:ListBucket", resource)
        case "GET", False, _ if "uploads" in asked:
            return Use("s3:ListBucketMultipartUploads", resource)
        case "GET", True, True:
            return Use("s3:ListMultipartUploadParts", resource)
        case "GET" | "HEAD", True, False if not asked:
            return Use("s3:GetObject", resource)
        case "DELETE", True, True:
            return Use("s3:AbortMultipartUpload", resource)
        case "DELETE", True, False if not asked:
            return Use("s3:DeleteObject", resource)
        case "PUT", True, False if not asked:
            return Use("s3:PutObject", resource)
        case "PUT", True, True if "partNumber" in asked:
            return Use("s3:PutObject", resource)
        case "POST", True, True:
            return Use("s3:PutObject", resource)  # CompleteMultipartUpload
        case "POST", True, False if set(asked) == {"uploads"}:
            return Use("s3:PutObject", resource)  # CreateMultipartUpload
    raise ValueError(f"no right is meant for {method} {path}?{query}")


def _matches(pattern: str, text: str) -> bool:
    """``*`` is any text, slashes among it, and ``?`` any one character."""
    spelt = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(spelt, text, re.DOTALL) is not None


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy of ours: Sid, Effect, Action and Resource, and nothing else."""

    statements: tuple[dict[str, Any], ...]

    @classmethod
    def of(cls, *names: str) -> Policy:
        """The files of these names, all attached to one identity."""
        documents = [json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")) for name in names]
        return cls(tuple(statement for document in documents for statement in document["Statement"]))

    def allows(self, use: Use) -> bool:
        """An Allow, and no Deny."""
        effects = {s["Effect"] for s in self.statements if _concerns(s, use)}
        return effects == {"Allow"}

    def unused(self, uses: Iterable[Use]) -> list[tuple[str, str, str]]:
        """(Sid, action, resource) of every right that no use needed."""
        made = set(uses)
        return [
            (statement["Sid"], action, resource)
            for statement in self.statements
            if statement["Effect"] == "Allow"
            for action in statement["Action"]
            for resource in statement["Resource"]
            if not any(use.action == action and _matches(resource, use.resource) for use in made)
        ]


def _concerns(statement: dict[str, Any], use: Use) -> bool:
    assert set(statement) == {"Sid", "Effect", "Action", "Resource"}, "a part of the policy that is not judged here"
    return use.action in statement["Action"] and any(_matches(r, use.resource) for r in statement["Resource"])
