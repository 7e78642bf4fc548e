"""Channels to a sealane service: one for as long as the process needs it, never one a call.

The options are data, each with its reason. Retrying is not among them: gRPC's own retries stop after 256 KiB of a
stream and hide what happened; a client resumes by coverage, a service repeats idempotent calls by itself.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
from grpc import aio

from sealane import spans
from sealane.rpc.call import this_call
from sealane.rpc.client_tls import ClientTls
from sealane.rpc.renewed_channel import RenewedChannel
from sealane.rpc.status import REQUEST_ID_KEY

MiB = 1 << 20

_SERVICE_CONFIG = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})

CHANNEL_OPTIONS: Sequence[tuple[str, int | str]] = (
    # Every address that the name has gets its share: replicas are equal, and any of them serves any session.
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.service_config_disable_resolution", 1),
    # One retry layer, ours.
    ("grpc.enable_retries", 0),
    # Notice a peer that is gone without a word within 40 s, also while a stream waits for its answer.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # A restarted replica is found again within 2 s; the default backs off to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # Answers have the default limit of 4 MiB; what is sent is at most a frame.
    ("grpc.max_receive_message_length", 4 * MiB),
    # Measured: a stream at full speed holds 2 MiB in transport instead of 5.
    ("grpc.http2.lookahead_bytes", 1 * MiB),
)


def channel(
    target: str,
    *,
    credentials: grpc.ChannelCredentials | ClientTls | None = None,
    options: Sequence[tuple[str, int | str]] = (),
    own_connection: bool = False,
) -> aio.Channel:
    """A channel to ``target`` ("host:port" or any gRPC name); plaintext without ``credentials``; with
    :class:`ClientTls`, whose files are read here (OSError, ValueError), it keeps up with them. Close it.

    ``options`` go after ours. Channels of equal options share connections, unless ``own_connection``. A call made
    while serving another passes that one's request id on, so that one id is in the logs of both services.
    """
    arguments = [*CHANNEL_OPTIONS, *options]
    if own_connection:
        arguments.append(("grpc.use_local_subchannel_pool", 1))
    if credentials is None:
        # What is not encrypted goes where it was said to go: gRPC would send calls of this very machine, with their
        # tokens, to the environment's http_proxy.
        arguments.append(("grpc.enable_http_proxy", 0))
        return aio.insecure_channel(target, options=arguments, interceptors=_interceptors())

    def open_secure(each: grpc.ChannelCredentials) -> aio.Channel:
        return aio.secure_channel(target, each, options=arguments, interceptors=_interceptors())

    if isinstance(credentials, ClientTls):
        arguments += credentials.options
        return RenewedChannel(credentials, open_secure)
    return open_secure(credentials)


def _interceptors() -> list[aio.ClientInterceptor]:
    return [_UnaryRequestId(), _StreamRequestId()]


def request_metadata(request_id: str | None = None) -> tuple[tuple[str, str], ...]:
    """Metadata that names ``request_id``, or that of the call being served, or none; and the trace, if there is one."""
    if request_id is None:
        try:
            request_id = this_call().request_id
        except LookupError:
            return spans.headers()
    return ((REQUEST_ID_KEY, request_id), *spans.headers())


def _with_request_id(details: aio.ClientCallDetails) -> aio.ClientCallDetails:
    metadata = aio.Metadata(*(details.metadata or ()))
    for key, value in request_metadata():
        if key not in metadata:
            metadata.add(key, value)
    return aio.ClientCallDetails(details.method, details.timeout, metadata, details.credentials, details.wait_for_ready)


# Two classes, as grpc.aio files an interceptor under one kind only. Request streams have none: there an interceptor
# would put a queue before every frame; whoever opens one passes request_metadata() by itself.
class _UnaryRequestId(aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]  # grpc has no types
    async def intercept_unary_unary(
        self, continuation: Callable[[Any, Any], Awaitable[Any]], client_call_details: Any, request: Any
    ) -> Any:
        return await continuation(_with_request_id(client_call_details), request)


class _StreamRequestId(aio.UnaryStreamClientInterceptor):  # type: ignore[misc]  # grpc has no types
    async def intercept_unary_stream(
        self, continuation: Callable[[Any, Any], Awaitable[Any]], client_call_details: Any, request: Any
    ) -> Any:
        return await continuation(_with_request_id(client_call_details), request)
