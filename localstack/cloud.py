#!/usr/bin/env python3
"""Queries and changes a cloud on this machine for the local scripts. Needs botocore, which MiniStack installs.

    cloud.py api CLOUD_URL NAME                      prints the URL of an HTTP API
    cloud.py secrets CLOUD_URL FUNCTION              prints its secrets as `export` lines
    cloud.py logs CLOUD_URL                          prints the log of all functions
    cloud.py set CLOUD_URL FUNCTION VARIABLE=VALUE   changes its environment
"""

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


def logs(cloud):
    client_of = client("logs", cloud)
    for group in client_of.get_paginator("describe_log_groups").paginate().search("logGroups"):
        name = group["logGroupName"]
        if name.startswith("/aws/lambda/"):
            pages = client_of.get_paginator("filter_log_events").paginate(logGroupName=name)
            for event in pages.search("events"):
                print(event["message"].rstrip())


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"api": api, "logs": logs, "secrets": secrets, "set": change}[command](*arguments)
