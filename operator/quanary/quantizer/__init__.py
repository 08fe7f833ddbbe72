"""One model in; an INT8 artifact, its certificate and its report out. A Job in the cluster, a command on a laptop."""

import os

# Read by ONNX Runtime when it is first imported, so it stands before every import of it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
