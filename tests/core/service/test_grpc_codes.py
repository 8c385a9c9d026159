"""The names of gRPC's statuses, for services that count by them before gRPC is loaded."""

import grpc

from npu_core.service.grpc_codes import GRPC_CODES


def test_they_are_those_of_grpc_but_for_success() -> None:
    assert {"OK", *GRPC_CODES} == {code.name for code in grpc.StatusCode}
