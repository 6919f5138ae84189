"""The command ``boxpromptiml complexity``: parameters and multiply–accumulates of a student."""

from __future__ import annotations

from boxpromptiml.core.limits import Count, Side, Whole, within_limits


@within_limits
def complexity(
    backbone: str = "tiny_vit_5m_224",
    image_size: Side = 224,
    second_size: Whole = 0,
    fusion_stride: Count = 8,
    channels: Count = 96,
    prototypes: Count = 64,
    gating: bool = True,
    memory: bool = True,
    forensic: Whole = 0,
    displacements: Whole = 0,
    compare_copies: bool = False,
    shape_prior: bool = False,
) -> int:
    """Print the numbers of parameters and multiply–accumulates of a student, without downloading weights.

    Args:
        backbone: any timm model with `features_only`.
        image_size: side of the input in pixels.
        second_size: side of a second, smaller input; 0 for none.
        fusion_stride: stride of the fusion grid.
        channels: width of the fusion module.
        prototypes: size of the memory bank.
        gating: use gates.
        memory: use the memory bank.
        forensic: number of high-pass filters per colour channel; 0 for none.
        displacements: number of displacements in the self-similarity branch; 0 for none.
        compare_copies: add the copy comparison; needs displacements.
        shape_prior: add the shape prior.
    """
    from stage2_distill.model.student import Student, count_macs, count_parameters  # slow imports

    student = Student(
        backbone,
        False,
        image_size,
        second_size,
        fusion_stride,
        channels,
        gating,
        memory,
        prototypes,
        forensic=forensic,
        displacements=displacements,
        compare_copies=compare_copies,
        shape_prior=shape_prior,
    )
    backbone_parameters = count_parameters(student.backbone)
    parameters, macs = count_parameters(student), count_macs(student)
    sizes = " and ".join(f"{side} × {side}" for side in (image_size, second_size) if side)
    print(f"student     {backbone} at {sizes}, fusion at stride {fusion_stride}")
    print(f"parameters  {parameters / 1e6:.3f} M (backbone {backbone_parameters / 1e6:.3f} M)")
    print(f"MACs        {macs / 1e9:.3f} G an image ({2 * macs / 1e9:.3f} GFLOPs)")
    return 0
