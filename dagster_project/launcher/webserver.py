"""`python -m dagster_project.launcher.webserver`: Dagster's UI, with the arguments that it has."""

from dagster_project.launcher import databases, environment


def main() -> None:
    environment.enter()
    from dagster_webserver.cli import main as webserver  # noqa: PLC0415 reads the environment when it is imported

    databases.open_cheaply()
    webserver()


if __name__ == "__main__":
    main()
