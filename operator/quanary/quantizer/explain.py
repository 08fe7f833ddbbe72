"""`quanary quantize --explain [TOPIC]`: what a run does and what its words mean, before it is started."""

from typing import Final

from quanary.wire.report import RefusedError

STEPS: Final = """
quanary quantize MODEL --calibration DATA --validation DATA --max-drop 0.01 --out DIR

 1 normalise  the graph is brought to one form and proven equal on real samples
 2 split      calibration data give ranges and tuning samples; nothing that is in the sealed data is used
 3 calibrate  ranges of activations, one sample in memory at a time; a wild sample is named and left out
 4 search     candidates on this CPU's integer kernels, cheapest first; layers that hurt stay in float
 5 certify    float against INT8 on the sealed data: the bound of the drop must lie within --max-drop
 6 measure    speed in fresh processes, memory, size: does it pay on this CPU?
 7 write      DIR/report.html to look at, report.json for machines, model-int8.onnx, the front, seal.json

A run that is stopped goes on where it was: ranges and evaluations are kept in DIR/.cache.
"""
DATA: Final = """
Data are samples of the model's inputs, one array for each input, first axis = samples:

 folder or .tar of .npz   arrays named as the inputs, and if the metric needs it `label`
 .parquet                 columns named as the inputs, and `label`
 module:function          a Python function that yields {input: array, "label": …} for each sample

`group` (optional) says which samples are near-duplicates, such as frames of one clip: they stay on one side of a split.
Calibration data should be like real traffic; a few hundred samples do. Validation data are sealed: bring samples that
nobody tuned on. With no disagreement at all about 300 samples certify a budget of 1 %, and about 3,000 one of 0.1 %.
"""
VERDICTS: Final = """
 OverBudget      the metric drops by more than --max-drop on the sealed data
 NotCertifiable  it may be within the budget, but there are too few sealed samples; the report says how many are needed
 NotBeneficial   certified, but neither faster nor smaller than asked for on this CPU
 SizeOnly        certified and smaller by --min-size-reduction, but not faster by --min-speedup
 Inconclusive    certified; the runs differ too much to say whether it is faster
 Beneficial      certified and faster by --min-speedup

Exit codes: 0 a verdict was reached, whichever; 1 refused, something must be changed; 75 a store cannot be reached;
143 ended by SIGTERM.
"""
SEAL: Final = """
Every look at the sealed data spends some of their worth: who tries until one passes, passes by luck. seal.json in DIR
counts the openings. The first is judged at the full confidence, opening j at an error of alpha / (j (j + 1)). The same
artifacts on the same data are free. Data are known by their samples: the same ones packed again are no fresh data. When
the seal is worn out, bring fresh data.
"""
TOPICS: Final = {"steps": STEPS, "data": DATA, "verdicts": VERDICTS, "seal": SEAL}


def explain(topic: str, metrics: str) -> str:
    """The text on a topic.

    Raises:
        RefusedError: there is none; it names all.
    """
    texts = {**TOPICS, "metrics": metrics}
    if topic not in texts:
        raise RefusedError("--explain", repr(topic), f"one of {', '.join(texts)}, or nothing for all steps")
    return texts[topic].strip("\n")
