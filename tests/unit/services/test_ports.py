"""Which ports are chosen."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagster_project.errors import ConfigurationError, ServiceError
from dagster_project.services.plan import planned, with_free_ports
from dagster_project.services.ports import LOOPBACK, free_port, is_free, requested_ports


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server((LOOPBACK, free_port())) as listener:
        yield listener.getsockname()[1]


def test_a_port_that_somebody_listens_on_is_not_free(taken: int) -> None:
    assert not is_free(taken)
    assert free_port() != taken


def test_ports_asked_for_follow_each_other() -> None:
    assert requested_ports(3, environment={"LAKEHOUSE_KAFKA_PORT": "9092"}) == (9092, 9093, 9094)
    assert requested_ports(3, environment={}) == ()


@pytest.mark.parametrize("value", ["0", "65534", "-1", "kafka", "9092.5"])
def test_what_is_no_port_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"LAKEHOUSE_KAFKA_PORT={value}"):
        requested_ports(3, environment={"LAKEHOUSE_KAFKA_PORT": value})


def test_a_new_cluster_has_six_different_ports(tmp_path: Path) -> None:
    cluster = with_free_ports(planned(tmp_path, 3), environment={})

    assert len({port for broker in cluster.brokers for port in (broker.client_port, broker.controller_port)}) == 6


def test_ports_stay_unless_another_program_took_them(tmp_path: Path, taken: int) -> None:
    first = with_free_ports(planned(tmp_path, 3), environment={})
    robbed = first.having(dataclasses.replace(first.broker(2), client_port=taken))

    again = with_free_ports(robbed, environment={})

    assert again.broker(1) == first.broker(1)
    assert again.broker(3) == first.broker(3)
    assert again.broker(2).controller_port == first.broker(2).controller_port
    assert is_free(again.broker(2).client_port)


def test_a_port_asked_for_is_the_clients_even_if_it_was_a_controllers(tmp_path: Path) -> None:
    first = with_free_ports(planned(tmp_path, 1), environment={})
    port = first.broker(1).controller_port

    again = with_free_ports(first, environment={"LAKEHOUSE_KAFKA_PORT": str(port)})

    assert again.broker(1).client_port == port
    assert again.broker(1).controller_port != port


def test_a_taken_port_that_was_asked_for_is_an_error(tmp_path: Path, taken: int) -> None:
    with pytest.raises(ServiceError, match=f"port {taken} .* taken"):
        with_free_ports(planned(tmp_path, 1), environment={"LAKEHOUSE_KAFKA_PORT": str(taken)})
