// expected-error @+1 {{is bent by "x" and its kin}}
// expected-error @+1 {{nothing that is the user's fault}}
