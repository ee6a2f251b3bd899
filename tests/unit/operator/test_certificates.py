"""The webhook's certificate, over real TLS connections on loopback."""

import asyncio
import contextlib
import shutil
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from indexcache_operator import certificates
from indexcache_operator.certificates import BadCertificate, Certificates
from indexcache_testbed.cluster.certs import Authority, Subject

HOSTS = ("webhook.example", "127.0.0.1")


@dataclass
class Files:
    """A mounted pair, and the pairs that it may hold."""

    folder: Path
    issued: Path

    @property
    def pair(self) -> tuple[Path, Path]:
        return self.folder / "tls.crt", self.folder / "tls.key"

    def put(self, certificate: str, key: str | None = None) -> None:
        """Renew both files, of two pairs if two are named."""
        self.put_certificate(certificate)
        self._put(self.issued / f"{key or certificate}.key", self.pair[1])

    def put_certificate(self, name: str) -> None:
        self._put(self.issued / f"{name}.crt", self.pair[0])

    def serial(self, name: str) -> bytes:
        """Return a certificate as it travels."""
        return ssl.PEM_cert_to_DER_cert((self.issued / f"{name}.crt").read_text())

    @staticmethod
    def _put(source: Path, target: Path) -> None:
        fresh = target.with_suffix(".fresh")
        shutil.copyfile(source, fresh)
        fresh.rename(target)


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("issued")
    authority = Authority(folder)
    for name in ("one", "two", "three"):
        authority.issue(name, Subject(name, hosts=HOSTS))
    return folder


@pytest.fixture
def files(tmp_path: Path, issued: Path) -> Files:
    found = Files(tmp_path, issued)
    found.put("one")
    return found


@dataclass
class Served:
    """A webhook over TLS."""

    port: int
    trusted: Path

    @contextlib.asynccontextmanager
    async def connected(
        self, name: str | None = HOSTS[0]
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Open a connection that asks for a name, or for none."""
        context = ssl.create_default_context(cafile=self.trusted)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=context, server_hostname=name or "127.0.0.1"
        )
        try:
            yield reader, writer
        finally:
            writer.close()

    async def certificate(self, name: str | None = HOSTS[0]) -> bytes:
        """Return what a new connection is served with, after one request over it."""
        async with self.connected(name) as (reader, writer):
            await asked(reader, writer)
            found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            return found


async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert await reader.readexactly(2) == b"ok"


@contextlib.asynccontextmanager
async def serving(found: Certificates, files: Files) -> AsyncIterator[Served]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application()
    app.add_routes([web.get("/", answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=found.context)
    await site.start()
    try:
        yield Served(runner.addresses[0][1], files.issued / "ca.crt")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("name", [HOSTS[0], None], ids=["by name", "by address"])
async def test_a_renewed_pair_serves_the_next_connection_and_disturbs_no_other(
    files: Files, name: str | None
) -> None:
    found = Certificates(files.pair)
    async with serving(found, files) as served, served.connected(name) as connection:
        await asked(*connection)
        for renewed in ("two", "three"):
            files.put(renewed)
            found.refresh()
            assert await served.certificate(name) == files.serial(renewed)
            await asked(*connection)


async def test_old_and_new_are_never_mixed(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    found = Certificates(files.pair)
    async with serving(found, files) as served:
        files.put_certificate("two")  # its key comes a moment later
        for _ in range(3):
            found.refresh()
        assert await served.certificate() == files.serial("one")
        assert caplog.text.count("the certificate before is served on") == 1
        files.put("two")
        found.refresh()
        assert await served.certificate() == files.serial("two")


BAD = ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]


@pytest.mark.parametrize("content", BAD)
@pytest.mark.parametrize("which", [0, 1], ids=["certificate", "key"])
async def test_what_is_no_pair_is_told_and_leaves_the_one_before(
    files: Files, content: str, which: int, caplog: pytest.LogCaptureFixture
) -> None:
    found = Certificates(files.pair)
    async with serving(found, files) as served:
        files.pair[which].write_text(content)
        found.refresh()
        assert await served.certificate() == files.serial("one")
    assert str(files.pair[which]) in caplog.text
    with pytest.raises(BadCertificate, match="found no certificate with its key"):
        Certificates(files.pair)


async def test_files_that_are_gone_leave_the_pair_and_may_come_back(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    found = Certificates(files.pair)
    async with serving(found, files) as served:
        files.pair[1].unlink()
        found.refresh()
        assert await served.certificate() == files.serial("one")
        assert "No such file" in caplog.text
        files.put("two")
        found.refresh()
        assert await served.certificate() == files.serial("two")


def test_a_key_with_a_password_asks_no_terminal(files: Files) -> None:
    text = (files.issued / "one.key").read_text()
    encrypted = text.replace("-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n", 1)
    files.pair[1].write_text(encrypted)
    with pytest.raises(BadCertificate, match="the key without a password"):
        Certificates(files.pair)


async def test_files_are_followed(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "FOLLOW_SECONDS", 0.01)
    found = Certificates(files.pair)
    async with serving(found, files) as served:
        following = asyncio.create_task(found.follow())
        files.put("two")
        async with asyncio.timeout(60):
            while await served.certificate() != files.serial("two"):
                pass
        following.cancel()
