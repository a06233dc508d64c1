"""The browser app: ``depthbokeh app``.

``look``, ``uploads``, ``strokes``, ``studio``, ``session``, ``sessions`` and ``pictures`` do the work and know nothing
of the browser; ``stage``, ``layout``, ``wiring``, ``handlers`` and ``server`` need gradio, the extra
``depthbokeh[app]``.
"""
