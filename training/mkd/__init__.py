"""MKD: a pathology student that learns with gene teachers (METHOD.md section 2)."""
