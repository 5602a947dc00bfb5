// expected-error @+1 {{is bent by "x" and its kin}}
