"""Requests to the API server, through the client's transport."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from npu_feature_discovery import __version__
from npu_feature_discovery.publish.answer import Answer, Call
from npu_feature_discovery.publish.credentials import configuration, tls_context
from npu_feature_discovery.sinks import FailureReason, SinkError
from npu_feature_discovery.sinks.child import ApiAccess

MANAGER = "npu-feature-discovery"
"""Who owns what we write, as the API server keeps it in ``metadata.managedFields``."""

JSON = "application/json"
APPLY = "application/apply-patch+yaml"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""An object's metadata alone: a node's status names every image on it."""

MAX_ANSWER = 2 * 1024 * 1024
"""Bytes of an answer. etcd takes objects of up to 1.5 MiB. Parsed, this many bytes may take 70 MiB of memory."""
_PIECE = 65536


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request.

    Attributes:
        call: what it asks for.
        method: the HTTP method.
        path: the path, each name in it as ``{key}``.
        names: key -> name, which is quoted.
        query: parameters.
        body: sent as JSON; None for none.
        content_type: of the body.
        accept: what the answer is to be.
    """

    call: Call
    method: str
    path: str
    names: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    content_type: str = JSON
    accept: str = JSON


class Api:
    """The API server, for as long as one publication may take.

    Raises:
        SinkError: CONFIGURATION, if it is not known how to reach it.
    """

    def __init__(self, access: ApiAccess) -> None:
        from kubernetes.client import ApiClient  # noqa: PLC0415  # not loaded before it is used

        self._timeout = access.timeout
        self._deadline = time.monotonic() + access.timeout
        made = configuration(access)
        self._client = ApiClient(made)
        # The client's configuration has no setting for a TLS context, and urllib3 would make a context of its own.
        self._client.rest_client.pool_manager.connection_pool_kw["ssl_context"] = tls_context(made)
        self._client.user_agent = f"{MANAGER}/{__version__}"

    def send(self, exchange: Exchange) -> Answer:
        """What the API server answers, whatever that is.

        Raises:
            SinkError: TIMEOUT, UNREACHABLE, TLS or CONFIGURATION, if there is no answer.
        """
        from kubernetes.client import ApiException  # noqa: PLC0415
        from urllib3.exceptions import HTTPError, LocationValueError, NewConnectionError, SSLError  # noqa: PLC0415
        from urllib3.exceptions import TimeoutError as OutOfTime  # noqa: PLC0415

        call, host = exchange.call, self._client.configuration.host
        try:
            return self._transfer(exchange)
        except LocationValueError as error:
            raise SinkError(FailureReason.CONFIGURATION, f"{host} is no address of an API server: {error}") from error
        except NewConnectionError as error:  # which counts as one that came too late, too
            raise _unreachable(call, host, error) from error
        except OutOfTime as error:
            text = f"{call}: no answer from {host} within {self._timeout:g} s"
            raise SinkError(FailureReason.TIMEOUT, text) from error
        except (SSLError, ApiException) as error:  # the client makes the former into the latter
            text = f"{call}: no trust in {host}: {_one_line(error)}"
            raise SinkError(FailureReason.TLS, text) from error
        except (HTTPError, OSError) as error:
            raise _unreachable(call, host, error) from error

    def _transfer(self, exchange: Exchange) -> Answer:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            text = f"{exchange.call}: not asked for, {self._timeout:g} s are over"
            raise SinkError(FailureReason.TIMEOUT, text)
        try:
            request = self._client.param_serialize(
                exchange.method,
                exchange.path,
                path_params=dict(exchange.names),
                query_params=list(exchange.query.items()),
                header_params={"Accept": exchange.accept, "Content-Type": exchange.content_type},
                body=None if exchange.body is None else dict(exchange.body),
                auth_settings=["BearerToken"],
            )
        except RecursionError as error:
            text = f"{exchange.call}: the API server's object is nested too deeply to be written back"
            raise SinkError(FailureReason.SERVER_ERROR, text) from error
        response = self._client.call_api(*request, _request_timeout=remaining)
        return Answer(response.status, _body(exchange.call, response.response), response.getheader("Retry-After"))


def _body(call: Call, response: Any) -> bytes:  # noqa: ANN401  # a urllib3.BaseHTTPResponse
    """The body, no more of it than is allowed in memory.

    Raises:
        SinkError: if the body is longer.
    """
    body = bytearray()
    # Not decoded: no encoding was asked for, and a few compressed bytes may become very many.
    while piece := response.read(_PIECE, decode_content=False):
        body += piece
        if len(body) > MAX_ANSWER:
            response.close()
            text = f"{call}: the API server's answer has more than {MAX_ANSWER} bytes"
            raise SinkError(FailureReason.SERVER_ERROR, text)
    return bytes(body)


def _unreachable(call: Call, host: str, error: Exception) -> SinkError:
    return SinkError(FailureReason.UNREACHABLE, f"{call}: cannot reach {host}: {_one_line(error)}")


def _one_line(error: Exception) -> str:
    """The client's errors say it in parts: what happened, and what made it happen."""
    reason = getattr(error, "reason", None)
    said = map(str, error.args) if reason is None else [str(reason)]
    return " ".join(" ".join(said).split()) or type(error).__name__
