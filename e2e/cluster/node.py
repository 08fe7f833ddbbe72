"""What turns a machine into a node: containerd, kubelet, kube-proxy; and the controllers beside the API server."""

from pathlib import Path
from string import Template

from e2e.cluster import control_plane, images, network, paths
from e2e.cluster.pki import Authority
from e2e.cluster.processes import Daemon

NAME = "quanary"
SERVER = f"https://{network.NODE}:{control_plane.API_PORT}"
FOLDER = paths.CLUSTER
AUTHORITY = Authority(FOLDER / "pki")
CGROUP = "quanary"


def etcd() -> Daemon:
    return control_plane.etcd(FOLDER, network.ETCD)


def apiserver() -> Daemon:
    pki = FOLDER / "pki"
    return control_plane.kube_apiserver(
        FOLDER,
        network.NODE,
        network.ETCD,
        network.SERVICES,
        "--authorization-mode=Node,RBAC",
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        f"--kubelet-client-certificate={pki / 'apiserver-kubelet-client.crt'}",
        f"--kubelet-client-key={pki / 'apiserver-kubelet-client.key'}",
    )


def controllers() -> Daemon:
    pki = FOLDER / "pki"
    return program(
        "kube-controller-manager",
        f"--kubeconfig={FOLDER / 'etc/controller-manager.kubeconfig'}",
        f"--bind-address={network.NODE}",
        f"--service-account-private-key-file={pki / 'service-accounts.key'}",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--flex-volume-plugin-dir={FOLDER / 'kubelet/volume-plugins'}",
        "--use-service-account-credentials",
        "--leader-elect=false",
    )


def scheduler() -> Daemon:
    return program(
        "kube-scheduler",
        f"--kubeconfig={FOLDER / 'etc/scheduler.kubeconfig'}",
        f"--bind-address={network.NODE}",
        "--leader-elect=false",
    )


def containerd() -> Daemon:
    return Daemon("containerd", ("/usr/bin/containerd", f"--config={FOLDER / 'etc/containerd.toml'}"), FOLDER)


def kubelet() -> Daemon:
    daemon = program(
        "kubelet",
        f"--config={FOLDER / 'etc/kubelet.yaml'}",
        f"--kubeconfig={FOLDER / 'etc/kubelet.kubeconfig'}",
        f"--root-dir={FOLDER / 'kubelet'}",
        f"--hostname-override={NAME}",
        f"--node-ip={network.NODE}",
    )
    # Without /usr/sbin it finds no iptables, and so leaves no chains of its own in the machine's tables.
    return Daemon(daemon.name, daemon.argv, daemon.folder, {"PATH": "/usr/bin"})


def proxy() -> Daemon:
    return program(
        "kube-proxy",
        f"--kubeconfig={FOLDER / 'etc/proxy.kubeconfig'}",
        f"--hostname-override={NAME}",
        f"--cluster-cidr={network.PODS}",
        "--proxy-mode=nftables",
        f"--metrics-bind-address={network.NODE}:10249",
        f"--healthz-bind-address={network.NODE}:10256",
        # The machine's own limits on tracked connections stay as they are.
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0s",
        "--conntrack-tcp-timeout-close-wait=0s",
    )


def program(name: str, *arguments: str) -> Daemon:
    return Daemon(name, (str(paths.BIN / name), *arguments), FOLDER)


def all_daemons() -> list[Daemon]:
    """In the order in which they start; they stop in the reverse order."""
    return [etcd(), apiserver(), controllers(), scheduler(), containerd(), kubelet(), proxy()]


def certificates() -> Path:
    """All identities of the cluster's parts; returns the administrator's kubeconfig."""
    AUTHORITY.create()
    hosts = (network.NODE, network.API_SERVICE, "localhost", "kubernetes", "kubernetes.default.svc")
    AUTHORITY.issue("apiserver", "kube-apiserver", hosts=hosts)
    AUTHORITY.issue("apiserver-kubelet-client", "kube-apiserver", groups=("system:masters",))
    AUTHORITY.issue("kubelet", NAME, hosts=(network.NODE, NAME))
    (FOLDER / "etc").mkdir(exist_ok=True)
    for name, user, groups in (
        ("controller-manager", "system:kube-controller-manager", ()),
        ("scheduler", "system:kube-scheduler", ()),
        ("proxy", "system:kube-proxy", ()),
        ("kubelet", f"system:node:{NAME}", ("system:nodes",)),
    ):
        client = AUTHORITY.issue(f"{name}-client", user, groups)
        AUTHORITY.kubeconfig(FOLDER / f"etc/{name}.kubeconfig", SERVER, client)
    return AUTHORITY.kubeconfig(paths.KUBECONFIG, SERVER, AUTHORITY.issue("admin", "admin", ("system:masters",)))


def configuration() -> None:
    values = {
        "folder": str(FOLDER),
        "containerd": str(paths.CONTAINERD),
        "pause": images.system_tag("pause"),
        "pods": network.PODS,
        "node": network.NODE,
        "dns": network.DNS,
    }
    for source, place in (
        ("containerd.toml", "containerd.toml"),
        ("kubelet.yaml", "kubelet.yaml"),
        ("cni.conflist", "cni/quanary.conflist"),
    ):
        file = FOLDER / "etc" / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Template((paths.CONFIG / source).read_text()).substitute(values))
    (FOLDER / "etc/resolv.conf").write_text("# The cluster's DNS knows the cluster alone.\n")


def control_groups() -> list[Path]:
    """Where our pods' control groups lie: one folder a controller in version 1, a single one in version 2."""
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        return [root / CGROUP]
    return [controller / CGROUP for controller in root.iterdir() if controller.is_dir() and not controller.is_symlink()]


def make_control_groups() -> None:
    for group in control_groups():
        group.mkdir(exist_ok=True)
