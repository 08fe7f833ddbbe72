"""Critical requests: marked by a header, or by a path that a gateway has not rewritten."""

from quanary.server.asgi import Application, Receive, Scope, Send


def marked_by_path(app: Application, prefix: str, mark: tuple[bytes, bytes] | None) -> Application:
    """`app`, to which a path under `prefix` is the path behind it with the header `mark`; as it is if either is none.

    A gateway's route does the same; whoever comes without one must find the same protection.
    """
    if not prefix or mark is None:
        return app

    async def marking(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(f"{prefix}/"):
            scope = {**scope, "path": scope["path"].removeprefix(prefix), "headers": [*scope["headers"], mark]}
        await app(scope, receive, send)

    return marking
