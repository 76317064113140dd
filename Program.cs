return await CarServer.Rpc.CommandLine.CarCommand.RunAsync(args);
