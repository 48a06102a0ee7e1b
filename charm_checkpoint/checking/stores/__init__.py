"""What is known of each store from inside, for a look at damage and for the doctor; imported when it is used."""
