#!/usr/bin/env python3
"""What the local scripts ask a cloud on this machine; needs botocore (MiniStack brings it along).

    cloud.py api CLOUD_URL NAME                      the URL of an HTTP API
    cloud.py secrets CLOUD_URL FUNCTION              what it verifies with, as lines for a shell
    cloud.py lapse CLOUD_URL PREFIX                  sets the tables' time to live
    cloud.py set CLOUD_URL FUNCTION VARIABLE=VALUE   changes its environment
"""

import json
import pathlib
import shlex
import sys

import botocore.session


def client(service, cloud):
    session = botocore.session.get_session()
    session.set_credentials("test", "test")
    return session.create_client(service, region_name="us-east-1", endpoint_url=cloud)


def api(cloud, name):
    apis = client("apigatewayv2", cloud).get_apis()["Items"]
    # By path: names under localhost do not resolve everywhere.
    (found,) = (api["ApiId"] for api in apis if api["Name"] == name)
    print(f"{cloud}/_aws/execute-api/{found}/$default")


def environment_of(functions, function):
    return functions.get_function_configuration(FunctionName=function)["Environment"]["Variables"]


def secrets(cloud, function):
    variables = environment_of(client("lambda", cloud), function)
    for name in ("TOKEN_SECRET", "TICKET_SECRET"):
        print(f"export INKWIRE_TEST_{name}={shlex.quote(variables[f'INKWIRE_{name}'])}")


def change(cloud, function, *settings):
    functions = client("lambda", cloud)
    variables = environment_of(functions, function) | dict(s.split("=", 1) for s in settings)
    functions.update_function_configuration(
        FunctionName=function, Environment={"Variables": variables}
    )


def lapse(cloud, prefix):
    """MiniStack takes the template's time to live and does not set it; nodes look at it."""
    shapes = pathlib.Path(__file__).parent.parent / "shared/dynamo/tables.json"
    for table in json.loads(shapes.read_text())["tables"]:
        if "ttl_attribute" in table:
            client("dynamodb", cloud).update_time_to_live(
                TableName=prefix + table["name"],
                TimeToLiveSpecification={
                    "Enabled": True,
                    "AttributeName": table["ttl_attribute"],
                },
            )


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"api": api, "lapse": lapse, "secrets": secrets, "set": change}[command](*arguments)
