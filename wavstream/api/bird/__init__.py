"""Bird's recording API: ``/workspaces/...``, in that vendor's own shapes."""
