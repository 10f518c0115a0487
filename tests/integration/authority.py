"""Certificates for tests, made with openssl, and folders that change as a Secret's volume does."""

import os
import shutil
import ssl
import subprocess
import time


class Volume:
    """A folder as the kubelet mounts a Secret: files are links into ..data, which is swapped in one rename."""

    def __init__(self, path):
        self.path = path
        self._versions = 0
        path.mkdir(parents=True, exist_ok=True)

    def write(self, files):
        """Publish `files` ({name: bytes or text}) in place of what was there."""
        self._versions += 1
        version = self.path / f"..version.{self._versions}"
        version.mkdir()
        for name, content in files.items():
            (version / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        link, fresh = self.path / "..data", self.path / "..data_tmp"
        former = os.readlink(link) if link.is_symlink() else None
        fresh.symlink_to(version.name)
        os.rename(fresh, link)
        for entry in self.path.iterdir():
            if not entry.name.startswith("..") and entry.name not in files:
                entry.unlink()
        for name in files:
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(f"..data/{name}")
        if former:
            shutil.rmtree(self.path / former)
        return self

    def __truediv__(self, name):
        return self.path / name


def _openssl(*arguments, cwd):
    subprocess.run(["openssl", *map(str, arguments)], cwd=cwd, check=True, capture_output=True, text=True)


class Authority:
    """A certificate authority of a test's own, with its files in `directory`."""

    def __init__(self, directory, name="authority"):
        self.dir = directory
        self._count = 0
        directory.mkdir(parents=True, exist_ok=True)
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                 "ca.key", "-out", "ca.crt", "-subj", f"/CN={name}", "-days", 30, cwd=directory)
        self.crt = directory / "ca.crt"

    def issue(self, *names, days=10, starts_in=0, usage="serverAuth,clientAuth"):
        """A certificate for these names, as the files of a Secret: {"tls.crt", "tls.key", "ca.crt"}.

        With days=0 it ends in the second in which it was made; with starts_in it begins so many seconds later.
        """
        self._count += 1
        stem = f"leaf{self._count}"
        alternatives = ",".join(("IP:" if n.replace(".", "").isdigit() else "DNS:") + n for n in names)
        (self.dir / f"{stem}.ext").write_text(
            f"subjectAltName={alternatives}\nextendedKeyUsage={usage}\n")
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{stem}.key",
                 "-out", f"{stem}.csr", "-subj", f"/CN={names[0]}", cwd=self.dir)
        if starts_in:
            self._sign_for_later(stem, days, starts_in)
        else:
            _openssl("x509", "-req", "-in", f"{stem}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-set_serial",
                     self._count, "-out", f"{stem}.crt", "-days", days, "-extfile", f"{stem}.ext", cwd=self.dir)
        return {"tls.crt": (self.dir / f"{stem}.crt").read_text(), "tls.key": (self.dir / f"{stem}.key").read_text(),
                "ca.crt": self.crt.read_text()}

    def _sign_for_later(self, stem, days, starts_in):
        (self.dir / "ca.cnf").write_text("[ca]\ndefault_ca=this\n[this]\ndatabase=index.txt\nnew_certs_dir=.\n"
                                         "serial=serial\ndefault_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n")
        (self.dir / "index.txt").touch()
        begin = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + starts_in))
        end = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + days * 86400))
        _openssl("ca", "-batch", "-config", "ca.cnf", "-cert", "ca.crt", "-keyfile", "ca.key", "-in", f"{stem}.csr",
                 "-out", f"{stem}.crt", "-startdate", begin, "-enddate", end, "-extfile", f"{stem}.ext", "-notext",
                 "-create_serial", cwd=self.dir)

    def context(self, files=None, least=None, most=None):
        """For asking servers whose certificates come from here, by address; with `files` as the client's own."""
        context = ssl.create_default_context(cafile=self.crt)
        context.check_hostname = False
        if least:
            context.minimum_version = least
        if most:
            context.maximum_version = most
        if files:
            path = self.dir / "client.pem"
            path.write_text(files["tls.crt"] + files["tls.key"])
            context.load_cert_chain(path)
        return context
