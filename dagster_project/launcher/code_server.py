"""`python -m dagster_project.launcher.code_server`: Dagster's server of definitions, with the arguments that it has."""

from dagster_project.launcher import databases


def main() -> None:
    from dagster._cli import main as dagster  # noqa: PLC0415 takes seconds, which an import of this module should not

    databases.open_cheaply()
    dagster()


if __name__ == "__main__":
    main()
