"""The voice gateway's API: ``/api/v1/sessions``, ``/admin/apps`` and ``/health``, in that API's own shapes."""
