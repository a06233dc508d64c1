"""Recovers the blur radius of a picture by gradient descent through the renderer."""

import torch

from depthbokeh import scatter_blur

torch.manual_seed(0)
image = torch.rand(1, 3, 96, 96)
target = scatter_blur(image, torch.full((1, 1, 96, 96), 6.5))

radius = torch.tensor(3.0, requires_grad=True)
optimizer = torch.optim.Adam([radius], lr=0.2)
for step in range(80):
    optimizer.zero_grad()
    loss = (scatter_blur(image, radius.expand(1, 1, 96, 96)) - target).square().mean()
    loss.backward()
    optimizer.step()
    if step % 20 == 19:
        print(f"step {step + 1}: radius {radius.item():.2f} (6.50), loss {loss.item():.2e}")
