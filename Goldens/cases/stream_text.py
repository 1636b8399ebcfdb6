"""Streams without an input, whose last step is at timestep 0 (StreamDiffusionV2's --t2v)."""

from .stream import SMALL, stream


def cases():
    made = [
        stream("causal_wan_text_2step", 3014, [700, 500], calls=14, sink=3, prepare_frames=1,
               text=True, **SMALL),
        stream("causal_wan_text_1step_warp", 3015, [700], calls=12, sink=1, warp=True, text=True,
               prepare_frames=1, **SMALL),
        stream("causal_wan_text_nobatch", 3016, [700, 400], calls=10, batch=False, sink=3,
               prepare_frames=1, text=True, **SMALL),
    ]
    for case in made:
        case.notes = [
            "The rules are those of causal_wan_stream_1step; the steps end with timestep 0, at "
            "which the sample has the noise of the table's entry nearest to 0.",
        ]
    yield from made
