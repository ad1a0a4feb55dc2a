"""ONNX Runtime sessions for a bundle's graphs."""

from __future__ import annotations

import onnxruntime as ort

from ..models.bundle import Bundle
from ..models.errors import BundleError, DeviceError
from ..models.manifest import SubnetworkName


def open_session(bundle: Bundle, name: SubnetworkName, threads: int) -> ort.InferenceSession:
    """Load one subnetwork.

    Args:
        bundle: checked.
        name: of the subnetwork.
        threads: for one operator; 0 leaves the choice to ONNX Runtime (one a physical core).

    Raises:
        DeviceError: the subnetwork is for an engine that this version does not run.
        BundleError: ONNX Runtime refuses the graph.
    """
    subnetwork = bundle.manifest.subnetworks[name]
    if subnetwork.engine != "onnx":
        raise DeviceError(
            f"{name} of {bundle.folder} is for the engine {subnetwork.engine}, which this version does not run. "
            "Export it for onnx"
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(bundle.path(subnetwork.graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common base but this
        raise BundleError(
            f"{bundle.path(subnetwork.graph)} cannot be loaded: {' '.join(str(error).split())[:200]}. "
            "Export the checkpoint again, or update onnxruntime"
        ) from error
