"""etcd and kube-apiserver: for the cluster, and alone, several at once, for tests of the API."""

import http.client
import secrets
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.cluster import build, network, paths
from e2e.cluster.pki import Authority
from e2e.cluster.processes import Daemon

ETCD_PORT, ETCD_PEER_PORT, API_PORT = 2379, 2380, 6443
ISSUER = "https://kubernetes.default.svc"


def etcd(folder: Path, address: str) -> Daemon:
    clients, peers = f"http://{address}:{ETCD_PORT}", f"http://{address}:{ETCD_PEER_PORT}"
    return Daemon(
        "etcd",
        (
            str(paths.BIN / "etcd"),
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",  # a throw-away cluster: only a power cut can lose data
            "--log-level=warn",
        ),
        folder,
    )


def kube_apiserver(folder: Path, address: str, etcd_address: str, services: str, *more: str) -> Daemon:
    """Needs the certificates `apiserver` and `apiserver-kubelet-client` in folder/pki."""
    pki = folder / "pki"
    return Daemon(
        "kube-apiserver",
        (
            str(paths.BIN / "kube-apiserver"),
            f"--etcd-servers=http://{etcd_address}:{ETCD_PORT}",
            f"--bind-address={address}",
            f"--advertise-address={address}",
            f"--secure-port={API_PORT}",
            f"--client-ca-file={pki / 'ca.crt'}",
            f"--tls-cert-file={pki / 'apiserver.crt'}",
            f"--tls-private-key-file={pki / 'apiserver.key'}",
            f"--service-account-key-file={pki / 'service-accounts.key'}",
            f"--service-account-signing-key-file={pki / 'service-accounts.key'}",
            f"--service-account-issuer={ISSUER}",
            f"--service-cluster-ip-range={services}",
            "--allow-privileged",
            *more,
        ),
        folder,
    )


def answers(url: str, authority: Authority | None = None) -> bool:
    """Whether a health URL says 200; without an authority the certificate is not looked at."""
    if authority is None:
        context = ssl._create_unverified_context()  # noqa: SLF001  our own process on our own address
    else:
        context = ssl.create_default_context(cafile=authority.pair.certificate)
        context.load_cert_chain(authority.folder / "admin.crt", authority.folder / "admin.key")
    # No proxy, whatever the environment says: the address is this machine's.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, http.client.HTTPException):
        return False


def tied_to_caller(daemon: Daemon) -> Daemon:
    """The kernel ends it with the thread that started it, so a killed test run leaves nothing behind."""
    return Daemon(daemon.name, ("setpriv", "--pdeathsig", "KILL", "--", *daemon.argv), daemon.folder)


def own_loopback_address() -> str:
    """Every API server has a loopback address of its own: so fixed ports never clash with another's."""
    return f"127.{64 + secrets.randbelow(64)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"


@contextmanager
def api_server(workdir: Path) -> Iterator[Path]:
    """etcd and kube-apiserver alone, with data and logs in `workdir`; yields an administrator's kubeconfig.

    Nothing else runs: no controller, no garbage collector, no scheduler. RBAC, CEL and admission policies work.
    """
    build.go_tools("kubernetes")
    address = own_loopback_address()
    authority = Authority(workdir / "pki")
    authority.create()
    authority.issue("apiserver", "kube-apiserver", hosts=(address, "localhost"))
    admin = authority.issue("admin", "admin", groups=("system:masters",))
    store = tied_to_caller(etcd(workdir, address))
    server = tied_to_caller(
        kube_apiserver(
            workdir,
            address,
            address,
            network.SERVICES,
            "--authorization-mode=RBAC",
            "--endpoint-reconciler-type=none",  # the one that publishes the address refuses loopback
            "--disable-admission-plugins=ServiceAccount",  # nothing here makes the accounts that it asks for
        )
    )
    try:
        store.start()
        store.wait(lambda: answers(f"http://{address}:{ETCD_PORT}/readyz"), 30)
        server.start()
        server.wait(lambda: answers(f"https://{address}:{API_PORT}/readyz", authority), 60)
        yield authority.kubeconfig(workdir / "kubeconfig", f"https://{address}:{API_PORT}", admin)
    finally:
        server.stop(grace_seconds=1)
        store.stop(grace_seconds=1)
