"""What the schema allows and what it does not is sent to the service: only the answers that it lists come back."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from clinragen.serve.access import Access
from clinragen.serve.app import Service, build_app
from clinragen.serve.limits import Limits

pytestmark = pytest.mark.slow
EXAMPLES = 12  # of each operation: about ten seconds together
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_only_listed_answers_come_back(assessor, finder, mode):
    service = Service(assessor, Access(None, loopback=False), Limits(stays=2), finder=finder)
    schema = schemathesis.openapi.from_asgi("/openapi.json", build_app(service))
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) == 7
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and not operation.body:
            continue  # nothing of it can be wrong

        @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(operation.as_strategy(generation_mode=mode))
        def ask(case):
            case.call_and_validate(checks=CHECKS)

        ask()
    service.close()
