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
        DeviceError: the bundle has it for another engine only.
        BundleError: ONNX Runtime refuses the graph.
    """
    graph = bundle.manifest.subnetworks[name].on("onnx")
    if graph is None:
        raise DeviceError(f"{bundle.folder} has no {name} for the engine onnx. Export it for onnx")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(bundle.path(graph.graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common base but this
        raise BundleError(
            f"{bundle.path(graph.graph)} cannot be loaded: {' '.join(str(error).split())[:200]}. "
            "Export the checkpoint again, or update onnxruntime"
        ) from error
