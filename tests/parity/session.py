"""A Spark session in a process of its own, as the launcher of orders."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagster_project.settings import REPOSITORY
from dagster_project.spark.order import Order

PYTHON = REPOSITORY / ".venv-spark" / "bin" / "python"
_SERVE = Path(__file__).with_name("serve.py")


@dataclass(kw_only=True)
class Session:
    """Carries out orders; `seconds` has what each took."""

    process: subprocess.Popen[str]
    seconds: list[float] = field(default_factory=list)

    def __call__(self, uri: str, order: Order) -> Mapping[str, object]:
        self.seconds.append(self.ask({"order": uri})["done"])
        return {}

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        print(json.dumps(question), file=self.process.stdin, flush=True)
        answer = self.answer()
        assert "failed" not in answer, answer["failed"]
        return answer

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise AssertionError(f"the session has ended with {self.process.wait()}")


@contextmanager
def spark() -> Generator[Session]:
    with tempfile.TemporaryDirectory(prefix="spark-") as work:
        command = [str(PYTHON), str(_SERVE), work]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            session = Session(process=process)
            try:
                session.answer()
                yield session
            finally:
                assert process.stdin is not None
                process.stdin.close()
                process.wait()
