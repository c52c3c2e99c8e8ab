#!/usr/bin/env python3
"""Feeds the stream of a table to a function, as the event source mapping of AWS does: in order, from
the oldest record. Repeats a batch from the first record that the function reports as failed.

    stream.py TABLE STORE_URL INVOKE_URL [KEY=PREFIX,…[:ATTRIBUTE|:-]]…

With filters, the function gets only records that match one of them. A record matches if its KEY
begins with a PREFIX and its row was written, with a text of that name if the filter names an
ATTRIBUTE. With `-` it matches if its row was removed.
For functions that run under `cargo lambda watch`; needs botocore, which MiniStack installs.
"""

import base64
import datetime
import json
import sys
import time
import urllib.error
import urllib.request

import botocore.session

RECORDS_MAX = 100
POLL_S = 0.15
RETRY_S = (0.2, 5.0)
INVOKE_MAX_S = 60


def plain(value):
    """Encodes bytes and times as AWS does, since JSON has no form for them."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    raise TypeError(type(value).__name__)


def records_of(client, table):
    """Yields batches of records of the table's only shard, without end."""
    arn = client.list_streams(TableName=table)["Streams"][0]["StreamArn"]
    shard = client.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    place = {"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
    while True:
        iterator = client.get_shard_iterator(**place)["ShardIterator"]
        records = client.get_records(ShardIterator=iterator, Limit=RECORDS_MAX)["Records"]
        if not records:
            time.sleep(POLL_S)
            continue
        yield records
        last = records[-1]["dynamodb"]["SequenceNumber"]
        place |= {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": last}


def filter_of(text):
    """Parses a filter into a test of a record's change."""
    key, wanted = text.split("=", 1)
    prefixes, _, attribute = wanted.partition(":")
    prefixes = tuple(prefixes.split(","))

    def matches(change):
        if not change["Keys"][key]["S"].startswith(prefixes):
            return False
        if "NewImage" not in change or attribute == "-":
            return "NewImage" not in change and attribute == "-"
        return not attribute or "S" in change["NewImage"].get(attribute, {})

    return matches


def passing(records, filters):
    """The records that at least one of the filters matches, or all records without filters."""

    def passes(record):
        return any(matches(record["dynamodb"]) for matches in filters)

    return [record for record in records if passes(record)] if filters else records


def invoke(url, records):
    """Invokes the function. Returns the records that it must get again."""
    body = json.dumps({"Records": records}, default=plain).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=INVOKE_MAX_S) as answer:
            failed = json.load(answer).get("batchItemFailures", [])
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        print(f"stream.py: {error}", file=sys.stderr, flush=True)
        return records
    names = {failure["itemIdentifier"] for failure in failed}
    at = (n for n, record in enumerate(records) if record["dynamodb"]["SequenceNumber"] in names)
    return records[next(at, len(records)):]


def main():
    table, store, url, *filters = sys.argv[1:]
    filters = [filter_of(text) for text in filters]
    session = botocore.session.get_session()
    session.set_credentials("local", "local")
    client = session.create_client("dynamodbstreams", region_name="us-east-1", endpoint_url=store)
    for batch in records_of(client, table):
        records = passing(batch, filters)
        wait = RETRY_S[0]
        while records and (records := invoke(url, records)):
            time.sleep(wait)
            wait = min(wait * 2, RETRY_S[1])


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
