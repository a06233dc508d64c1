"""One call of each hot kernel, for a profiler: ``ncu ... python benchmarks/gpu_profile.py``."""

from tap_loop import make_inputs

from depthbokeh import gather_blur, scatter_blur

for radius_map in ("noise", "smooth"):
    image, radius = (t.cuda() for t in make_inputs(1024, 1536, 32, radius_map))
    scatter_blur(image, radius, backend="native")
    gather_blur(image, radius.requires_grad_(), backend="native").sum().backward()
scatter_blur(image, radius.detach(), "gaussian", backend="native")
