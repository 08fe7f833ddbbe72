"""Where the cluster's own services answer, as host and port that this machine reaches."""

from e2e.cluster.kubectl import get


def service(namespace: str, name: str) -> str:
    spec = get("service", f"--namespace={namespace}", name)["spec"]
    return f"{spec['clusterIP']}:{spec['ports'][0]['port']}"


def gateway() -> str:
    """The address only: the port is that of the listener, 80."""
    status = get("gateway", "--namespace=gateway", "quanary")["status"]
    return str(status["addresses"][0]["value"])


def second_gateway() -> str:
    """Host and port: it is no user of port 80."""
    return service("traefik", "traefik")


def registry() -> str:
    return service("registry", "registry")


def prometheus() -> str:
    return service("monitoring", "prometheus")


ADDRESSES = {"gateway": gateway, "registry": registry, "prometheus": prometheus}
