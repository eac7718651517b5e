"""The plug-ins that come with TensorRT, in libnvinfer_plugin; trtexec loads them.

Its parser takes any operator that it does not know for a plug-in of that name, of any domain.
Sources: NVIDIA/TensorRT, plugin/README.md of release 10.x, and CHANGELOG.md.
"""

from __future__ import annotations

_OF_8_2 = (
    "BatchTilePlugin_TRT BatchedNMSDynamic_TRT BatchedNMS_TRT Clip_TRT CoordConvAC CropAndResize "
    "CropAndResizeDynamic CustomEmbLayerNormPluginDynamic CustomFCPluginDynamic "
    "CustomGeluPluginDynamic CustomQKVToContextPluginDynamic CustomSkipLayerNormPluginDynamic "
    "DetectionLayer_TRT EfficientNMS_ONNX_TRT EfficientNMS_TRT FlattenConcat_TRT "
    "GenerateDetection_TRT GridAnchorRect_TRT GridAnchor_TRT GroupNormalizationPlugin "
    "InstanceNormalization_TRT LReLU_TRT MultilevelCropAndResize_TRT MultilevelProposeROI_TRT "
    "NMSDynamic_TRT NMS_TRT Normalize_TRT PriorBox_TRT Proposal ProposalDynamic ProposalLayer_TRT "
    "PyramidROIAlign_TRT RPROI_TRT Region_TRT Reorg_TRT ResizeNearest_TRT SpecialSlice_TRT"
)
# Release -> the plug-ins that came with it.
_ADDED = {
    (8, 4): (
        "DecodeBbox3DPlugin DisentangledAttention_TRT MultiscaleDeformableAttnPlugin_TRT "
        "PillarScatterPlugin VoxelGeneratorPlugin"
    ),
    (8, 6): "ModulatedDeformConv2d ROIAlign_TRT",
}


def plugins_of(release: tuple[int, ...]) -> frozenset[str]:
    """Return the names of the plug-ins of a release."""
    later = (names for first, names in _ADDED.items() if first <= release)
    return frozenset(name for names in (_OF_8_2, *later) for name in names.split())


def missing_attributes(version: str, release: tuple[int, ...]) -> dict[str, str]:
    """Return the attributes that plug-ins of a release do not know yet: kind.attribute -> why.

    Source: NVIDIA/TensorRT, pull request 2593.
    """
    if release >= (8, 6):
        return {}
    within = f"the plug-in of TensorRT {version} compares within classes only"
    return {"EfficientNMS_TRT.class_agnostic": within}
