"""Many runs side by side: jobs, paired differences, tables, figures."""
