"""Judgement of FFmpeg, ffprobe and the encoders of GPUs."""

import os
from collections.abc import Iterator
from pathlib import Path

from ffrtmp_shared.encoders import ENCODERS
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_worker.ffmpeg.build_info import UnusableFfmpegError
from ffrtmp_worker.ffmpeg.encoder_check import check_encoder

from ffrtmp_cli.diagnosis.diagnosed_host import DiagnosedHost
from ffrtmp_cli.diagnosis.findings import Finding, Status
from ffrtmp_cli.ffmpeg_origin import FfmpegOrigin, describe_ffmpeg, find_configuration, run_lines
from ffrtmp_cli.local.ffmpeg_programs import has_libvmaf

_GPU_INTERFACES = {"nvenc": "nvidia[0-9]*", "qsv": "dri/renderD*", "vaapi": "dri/renderD*"}
"""The devices, below /dev, that the encoders of each interface need."""

_INSTALL = "install FFmpeg with the package manager, or name a program with --ffmpeg"
_MAX_TAIL = 200


def check_ffmpeg(
    host: DiagnosedHost, ffmpeg: Path | None, ffprobe: Path | None
) -> tuple[FfmpegOrigin | None, list[Finding]]:
    """Check FFmpeg, ffprobe, libvmaf and the encoders of GPUs.

    Args:
        host: The host.
        ffmpeg: The FFmpeg, or None if there is none.
        ffprobe: The ffprobe, or None if there is none.

    Returns:
        The origin of FFmpeg, if it can be used, and the findings.
    """
    if ffmpeg is None:
        missing = Finding(
            id="ffmpeg", status=Status.FAULT, found="there is no ffmpeg in PATH", remedy=_INSTALL
        )
        return None, [missing, _ffprobe(ffprobe, None)]
    try:
        origin = describe_ffmpeg(ffmpeg)
    except (UnusableFfmpegError, OSError) as error:
        unusable = Finding(id="ffmpeg", status=Status.FAULT, found=str(error), remedy=_INSTALL)
        return None, [unusable, _ffprobe(ffprobe, None)]
    listed = _listed_encoders(ffmpeg)
    return origin, [
        _origin(origin),
        _software_encoders(listed),
        _libvmaf(ffmpeg),
        _ffprobe(ffprobe, origin),
        *_gpu_encoders(host, ffmpeg, listed),
    ]


def _origin(origin: FfmpegOrigin) -> Finding:
    linked = {True: "static", False: "dynamic", None: "unknown format"}[origin.is_static]
    package = origin.package
    source = "no package" if isinstance(package, Unavailable) else package
    return Finding(
        id="ffmpeg",
        status=Status.OK,
        found=f"{origin.path}: version {origin.version} ({linked}, {source}), "
        f"SHA-256 {origin.sha256}",
    )


def _listed_encoders(ffmpeg: Path) -> list[str]:
    names = {words[1] for line in run_lines(ffmpeg, "-encoders") if len(words := line.split()) > 1}
    return [name for name in ENCODERS if name in names]


def _interface(encoder: str) -> str | None:
    """Return the interface of a GPU that an encoder uses, or None if it runs on the CPU."""
    suffix = encoder.rpartition("_")[2]
    return suffix if suffix in _GPU_INTERFACES else None


def _software_encoders(listed: list[str]) -> Finding:
    names = [name for name in listed if _interface(name) is None]
    if names:
        return Finding(id="encoders", status=Status.OK, found=", ".join(names))
    return Finding(
        id="encoders",
        status=Status.FAULT,
        found="FFmpeg has no software encoder that suites can use",
        remedy=_INSTALL,
    )


def _libvmaf(ffmpeg: Path) -> Finding:
    if has_libvmaf(ffmpeg.absolute()):
        return Finding(id="libvmaf", status=Status.OK, found="FFmpeg can measure quality")
    return Finding(
        id="libvmaf",
        status=Status.WARNING,
        found="FFmpeg has no filter libvmaf and cannot measure quality",
        remedy="measure quality with another FFmpeg: a worker of a farm has its own",
    )


def _ffprobe(ffprobe: Path | None, origin: FfmpegOrigin | None) -> Finding:
    if ffprobe is None:
        return Finding(
            id="ffprobe",
            status=Status.FAULT,
            found="there is no ffprobe in PATH",
            remedy="install the package that contains ffprobe, or name a program with --ffprobe",
        )
    lines = run_lines(ffprobe, "-version")
    words = lines[0].split() if lines else []
    if words[:2] != ["ffprobe", "version"]:
        return Finding(
            id="ffprobe",
            status=Status.FAULT,
            found=f"{ffprobe} is not ffprobe, or cannot be run",
            remedy="name another program with --ffprobe",
        )
    text = f"{ffprobe}: version {''.join(words[2:3])}"
    if origin is not None and find_configuration(ffprobe) != origin.configuration:
        text += ", of another build than FFmpeg"
    return Finding(id="ffprobe", status=Status.OK, found=text)


def _gpu_encoders(host: DiagnosedHost, ffmpeg: Path, listed: list[str]) -> Iterator[Finding]:
    """Yield a finding for each encoder of a GPU that the host has, after an encode with it."""
    devices = {name: sorted(host.dev.glob(glob)) for name, glob in _GPU_INTERFACES.items()}
    if not any(devices.values()):
        yield Finding(
            id="gpu-encoders", status=Status.UNAVAILABLE, found="the host has no GPU device"
        )
        return
    tested = [name for name in listed if devices.get(_interface(name) or "")]
    if not tested:
        yield Finding(
            id="gpu-encoders",
            status=Status.UNAVAILABLE,
            found="FFmpeg has no encoder for the GPUs of this host",
            remedy=_INSTALL,
        )
    for encoder in tested:
        yield _gpu_encoder(encoder, ffmpeg, devices[_interface(encoder) or ""])


def _gpu_encoder(encoder: str, ffmpeg: Path, devices: list[Path]) -> Finding:
    denied = [str(device) for device in devices if not os.access(device, os.R_OK | os.W_OK)]
    proof = check_encoder(encoder, ffmpeg)
    if proof.works:
        return Finding(id=f"gpu-{encoder}", status=Status.OK, found="an encode succeeded")
    if denied:
        return Finding(
            id=f"gpu-{encoder}",
            status=Status.UNAVAILABLE,
            found=f"this user may not use {', '.join(denied)}",
            remedy="sudo usermod --append --groups render,video $USER, and log in again",
        )
    last = proof.log_tail.strip().splitlines()[-1:] or ["no output"]
    # GPUs support only a part of the codecs of their interface, but H.264 is always one of them.
    return Finding(
        id=f"gpu-{encoder}",
        status=Status.WARNING if encoder.startswith("h264_") else Status.UNAVAILABLE,
        found=f"an encode failed: {last[0][:_MAX_TAIL]}",
        remedy="install the driver of the GPU, if its model supports this codec",
    )
