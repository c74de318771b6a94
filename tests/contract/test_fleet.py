"""Many execution environments and the control plane against one table, as moto plays DynamoDB, in virtual time."""

from collections.abc import Iterator
from itertools import count

import boto3
import pytest
from moto import mock_aws

from infra.local.template import wiring
from tests.fleet import STORE_DELAY, Fleet, percentile
from tests.providers import PROBE, TEXT, Provider
from tests.virtual import run
from understudy.store.dynamodb import DynamoTable

REGION = "us-east-1"
ENVIRONMENTS = 50
FEW = 12
"""Enough where each environment must find its own way."""
RATE = 20.0
WARM = 15.0
"""Long enough for the fleet to have told of its good calls: the lead is a busy target."""
MINUTE = 60.0


@pytest.fixture(scope="module")
def tables() -> Iterator[Iterator[DynamoTable]]:
    """Fresh tables, as infra/storage.yaml has them."""
    names = ("BillingMode", "AttributeDefinitions", "KeySchema")
    design = {name: wiring().table[name] for name in names}
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            patch.setenv(name, "testing")
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"):
            patch.delenv(name, raising=False)
        patch.setattr(boto3, "DEFAULT_SESSION", None)

        def fresh() -> Iterator[DynamoTable]:
            for number in count():
                boto3.client("dynamodb", region_name=REGION).create_table(TableName=f"fleet-{number}", **design)
                yield DynamoTable(f"fleet-{number}", region=REGION)

        yield fresh()


@pytest.fixture(scope="module")
def fleet(tables: Iterator[DynamoTable]) -> Fleet:
    """A fleet after a minute without its lead."""

    async def main() -> Fleet:
        lead = Provider(pieces=4).breaks("refused", WARM, WARM + MINUTE)
        async with Fleet(lead, Provider(pieces=3), environments=ENVIRONMENTS, table=next(tables)) as fleet:
            await fleet.traffic(RATE, WARM + MINUTE)
            return fleet

    return run(main())


class TestDeadLead:
    """The lead is dead for a minute under 20 requests a second."""

    def test_every_request_is_answered(self, fleet: Fleet) -> None:
        """All 1500 requests get the one true answer, and nothing of the router's own fails."""
        assert [] == [(record.number, record.error) for record in fleet.records if record.error is not None]
        assert {TEXT} == {record.text for record in fleet.records}
        assert ([], []) == (fleet.crashes(), fleet.buried)

    def test_the_lead_is_left_alone(self, fleet: Fleet) -> None:
        """The dead lead is called at most 60 times, probes included: the fleet learns of it after a few."""
        assert sum(WARM <= call.began_at < WARM + MINUTE for call in fleet.calls) <= 60

    def test_the_healthy_understudy_stays(self, fleet: Fleet) -> None:
        """The understudy's breaker never leaves closed."""
        assert {"closed"} == {item.state for _, item in fleet.health if item.target == "understudy"}

    def test_probes_come_one_at_a_time(self, fleet: Fleet) -> None:
        """No probe begins while another is under way, and no lease is taken while another holds."""
        assert any(call.by == PROBE for call in fleet.calls)
        assert ([], []) == (fleet.probes_at_once("lead"), fleet.leases_at_once("lead"))


STORE_BREAKS, LEAD_DIES, ENDS = 10.0, 12.0, 27.0


async def bad_store(table: DynamoTable, store: str, *, dead: bool) -> Fleet:
    """A fleet after a quarter of a minute with a table that is good, slow or down, and a lead that may have died."""
    lead = Provider(pieces=4)
    if dead:
        lead.breaks("refused", LEAD_DIES)
    async with Fleet(lead, Provider(pieces=3), environments=FEW, table=table) as fleet:
        await fleet.traffic(RATE, STORE_BREAKS)
        fleet.table.delay = 5.0 if store == "slow" else STORE_DELAY
        fleet.table.down = store == "down"
        await fleet.traffic(RATE, ENDS - STORE_BREAKS)
        return fleet


@pytest.fixture(scope="module")
def runs(tables: Iterator[DynamoTable]) -> dict[tuple[str, bool], Fleet]:
    """Fleets afterwards, by how the store was and whether the lead died."""
    stores = ("good", "slow", "down")
    return {(s, dead): run(bad_store(next(tables), s, dead=dead)) for s in stores for dead in (False, True)}


class TestBadStore:
    """After a healthy beginning every call to the table takes 5 s, or fails."""

    @pytest.mark.parametrize("store", ["slow", "down"])
    @pytest.mark.parametrize("dead", [False, True], ids=["healthy lead", "dead lead"])
    def test_no_answer_suffers(self, runs: dict[tuple[str, bool], Fleet], store: str, dead: bool) -> None:
        """Every request gets the one true answer."""
        answers = [(record.error, record.text) for record in runs[store, dead].records]
        assert {(None, TEXT)} == set(answers)

    @pytest.mark.parametrize("store", ["slow", "down"])
    @pytest.mark.parametrize("dead", [False, True], ids=["healthy lead", "dead lead"])
    def test_nobody_waits_for_the_store(self, runs: dict[tuple[str, bool], Fleet], store: str, dead: bool) -> None:
        """No request waits for the table more than 50 ms longer than the slowest one with a good table."""
        good, bad = (self.own(runs[which, dead]) for which in ("good", store))
        assert max(bad) - max(good) <= 0.05

    @pytest.mark.parametrize("store", ["slow", "down"])
    @pytest.mark.parametrize("dead", [False, True], ids=["healthy lead", "dead lead"])
    def test_latency_stays(self, runs: dict[tuple[str, bool], Fleet], store: str, dead: bool) -> None:
        """The median request is at most 50 ms above that with a good table.

        Not the slowest: with a bad table each environment must find out by itself that the lead is dead, so that more
        requests have the random wait of a retry behind them.
        """
        good, bad = (self.median(runs[which, dead]) for which in ("good", store))
        assert bad - good <= 0.05

    def own(self, fleet: Fleet) -> list[float]:
        return [fleet.own_seconds(record) for record in fleet.records if record.sent_at >= STORE_BREAKS]

    def median(self, fleet: Fleet) -> float:
        return percentile([record.seconds for record in fleet.records if record.sent_at >= STORE_BREAKS], 50)
