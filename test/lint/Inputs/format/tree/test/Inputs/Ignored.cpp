int   ignored( ) {return 1 ;}
