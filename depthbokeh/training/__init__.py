"""Fine-tuning mask and depth models through the renderer, with bokeh photographs as the only teacher."""
