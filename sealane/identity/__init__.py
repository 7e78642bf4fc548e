"""Who a caller is, and what it may do: from what came with a call to a tenant and its roles. It knows no gRPC."""
