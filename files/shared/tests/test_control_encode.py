"""Test that a change of the control encode is noticed."""

from ffrtmp_shared.control_encode import SCENARIO, VERSION


def test_the_version_belongs_to_the_settings() -> None:
    """If this fails because a setting has changed, increase the version.

    Speeds that were measured with other settings must not be compared with new ones.
    """
    clip, encode = SCENARIO.source.synthetic, SCENARIO.encode
    assert clip is not None
    assert encode is not None
    settings = (
        (clip.content, clip.width, clip.height, clip.frame_rate, clip.duration_s),
        (encode.encoder, encode.preset, encode.rate.label, encode.pixel_format),
        (encode.threads, encode.gop_frames, encode.width, encode.frame_rate),
        SCENARIO.warm_up_s,
    )
    assert (VERSION, settings) == (
        1,
        (
            ("motion", 1280, 720, "30", 10.0),
            ("libx264", "medium", "crf23", "yuv420p"),
            (2, 250, None, None),
            1.0,
        ),
    )
