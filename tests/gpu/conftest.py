"""Under which attention backend the tests run: vLLM's own choice, or the one that is asked for.

    pytest -m gpu tests/gpu
    pytest -m gpu tests/gpu --attention-backend FLASHMLA_SPARSE

A backend is a process's, as most of what vLLM sets up.
"""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say which backend."""
    parser.addoption(
        "--attention-backend", default=None, help="of vLLM's engines; vLLM's own choice unless given"
    )


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> str | None:
    """Return what is given to vLLM as attention_backend."""
    asked: str | None = request.config.getoption("--attention-backend")
    return asked
