package main

import "github.com/spf13/cobra"

func serverCmd() *cobra.Command { return &cobra.Command{Use: "server"} }
func upCmd() *cobra.Command     { return &cobra.Command{Use: "up"} }
