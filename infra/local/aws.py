"""AWS on one machine: moto in this process, plus its HTTP endpoint so that the command line can reach it too."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REGION = "us-east-1"
TABLE = "understudy-local"
BUS = "understudy-local"
# moto checks no credentials; these say plainly that they are none.
CREDENTIALS = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), "local")


@dataclass(slots=True)
class LocalAws:
    """What was created, by its local name; `queues` maps logical ids to URLs."""

    endpoint: str
    topic_arn: str
    stream_arn: str
    queues: Mapping[str, str]
    _mock: Any
    _server: Any

    def client(self, service: str) -> Any:
        import boto3

        return boto3.client(service, region_name=REGION)

    def stop(self) -> None:
        self._server.stop()
        self._mock.stop()


def start_aws(table: Mapping[str, Any], queues: tuple[str, ...], host: str, port: int) -> LocalAws:
    """Start moto and create the table (as the storage template has it), the topic, the bus and the queues."""
    os.environ.update(CREDENTIALS, AWS_DEFAULT_REGION=REGION, AWS_REGION=REGION)
    # moto answers table streams only where the account id is not part of the endpoint's name.
    os.environ["AWS_ACCOUNT_ID_ENDPOINT_MODE"] = "disabled"
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        os.environ.pop(name, None)
    from moto import mock_aws
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    # Its own credentials would take the place of ours.
    mock = mock_aws(config={"core": {"mock_credentials": False}})
    mock.start()
    server = ThreadedMotoServer(ip_address=host, port=port, verbose=False)
    server.start()
    address, bound = server.get_host_and_port()

    import boto3

    dynamodb = boto3.client("dynamodb", region_name=REGION)
    wanted = ("BillingMode", "AttributeDefinitions", "KeySchema")
    created = dynamodb.create_table(
        TableName=TABLE,
        StreamSpecification={"StreamEnabled": True, **table["StreamSpecification"]},
        **{name: table[name] for name in wanted},
    )
    topic = boto3.client("sns", region_name=REGION).create_topic(Name="understudy-local")["TopicArn"]
    boto3.client("events", region_name=REGION).create_event_bus(Name=BUS)
    sqs = boto3.client("sqs", region_name=REGION)
    return LocalAws(
        endpoint=f"http://{address}:{bound}",
        topic_arn=topic,
        stream_arn=created["TableDescription"]["LatestStreamArn"],
        queues={name: sqs.create_queue(QueueName=f"understudy-local-{name}")["QueueUrl"] for name in queues},
        _mock=mock,
        _server=server,
    )
