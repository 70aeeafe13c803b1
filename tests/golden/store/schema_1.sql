BEGIN TRANSACTION;
CREATE TABLE about (
	"key" TEXT NOT NULL, 
	value TEXT DEFAULT '' NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "about" VALUES('format','ftte-bench results');
INSERT INTO "about" VALUES('schema','1');
CREATE TABLE board (
	id INTEGER NOT NULL, 
	name TEXT DEFAULT '' NOT NULL, 
	env TEXT DEFAULT '' NOT NULL, 
	core TEXT DEFAULT '' NOT NULL, 
	ram_bytes INTEGER DEFAULT '0' NOT NULL, 
	physical INTEGER DEFAULT '0' NOT NULL, 
	probe TEXT DEFAULT '' NOT NULL, 
	probe_firmware TEXT DEFAULT '' NOT NULL, 
	supply TEXT DEFAULT '' NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT board_once UNIQUE (name, env, core, ram_bytes, physical, probe, probe_firmware, supply)
);
INSERT INTO "board" VALUES(1,'plus2','netduinoplus2','cortex-m4f',131072,0,'','','');
INSERT INTO "board" VALUES(2,'h405','olimex_stm32_h405','cortex-m4f',131072,0,'','','');
INSERT INTO "board" VALUES(3,'n2','netduino2','cortex-m3',131072,0,'','','');
INSERT INTO "board" VALUES(4,'iot','b_l475e_iot01a','cortex-m4f',98304,0,'','','');
INSERT INTO "board" VALUES(5,'bit','microbit','cortex-m0',16384,0,'','','');
CREATE TABLE build (
	id INTEGER NOT NULL, 
	program TEXT DEFAULT '' NOT NULL, 
	"plan" TEXT DEFAULT '' NOT NULL, 
	model TEXT DEFAULT '' NOT NULL, 
	scheme TEXT DEFAULT '' NOT NULL, 
	dtype TEXT DEFAULT '' NOT NULL, 
	strategy TEXT DEFAULT '' NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT build_once UNIQUE (program, "plan", model, scheme, dtype, strategy)
);
INSERT INTO "build" VALUES(1,'demo_int8','00112233aabbccdd','','','int8','');
INSERT INTO "build" VALUES(2,'demo_float32','ddccbbaa33221100','','','float32','');
CREATE TABLE measurement (
	run_id INTEGER NOT NULL, 
	series_id INTEGER NOT NULL, 
	round INTEGER NOT NULL, 
	value DOUBLE NOT NULL, 
	PRIMARY KEY (run_id, series_id, round), 
	FOREIGN KEY(run_id) REFERENCES run (id), 
	FOREIGN KEY(series_id) REFERENCES series (id)
)
 WITHOUT ROWID

;
INSERT INTO "measurement" VALUES(1,1,0,0.1);
INSERT INTO "measurement" VALUES(1,1,1,0.79);
INSERT INTO "measurement" VALUES(1,2,0,2.09999999999999964472e+00);
INSERT INTO "measurement" VALUES(1,2,1,7.1999999999999975131e-01);
INSERT INTO "measurement" VALUES(1,3,1,10944.0);
INSERT INTO "measurement" VALUES(1,4,1,1836.0);
INSERT INTO "measurement" VALUES(1,5,1,0.0);
INSERT INTO "measurement" VALUES(1,6,1,4700.0);
INSERT INTO "measurement" VALUES(1,7,1,9344.0);
INSERT INTO "measurement" VALUES(1,8,1,4880.0);
INSERT INTO "measurement" VALUES(1,9,1,9574.0);
INSERT INTO "measurement" VALUES(1,10,1,0.0);
INSERT INTO "measurement" VALUES(1,11,1,0.0);
INSERT INTO "measurement" VALUES(1,12,1,600.0);
INSERT INTO "measurement" VALUES(1,13,1,0.0);
INSERT INTO "measurement" VALUES(1,14,1,1.5);
INSERT INTO "measurement" VALUES(1,15,1,0.5);
INSERT INTO "measurement" VALUES(1,16,1,600.0);
INSERT INTO "measurement" VALUES(1,17,1,13380.0);
INSERT INTO "measurement" VALUES(1,18,1,760.0);
INSERT INTO "measurement" VALUES(1,19,1,13540.0);
INSERT INTO "measurement" VALUES(1,20,1,600000000.0);
INSERT INTO "measurement" VALUES(1,21,1,10944.0);
INSERT INTO "measurement" VALUES(1,22,1,1836.0);
INSERT INTO "measurement" VALUES(1,23,1,0.0);
INSERT INTO "measurement" VALUES(1,24,1,4700.0);
INSERT INTO "measurement" VALUES(1,25,1,9344.0);
INSERT INTO "measurement" VALUES(1,26,1,4880.0);
INSERT INTO "measurement" VALUES(1,27,1,9574.0);
INSERT INTO "measurement" VALUES(1,28,1,0.0);
INSERT INTO "measurement" VALUES(1,29,1,0.0);
INSERT INTO "measurement" VALUES(1,30,1,600.0);
INSERT INTO "measurement" VALUES(1,31,1,0.0);
INSERT INTO "measurement" VALUES(1,32,1,1.5);
INSERT INTO "measurement" VALUES(1,33,1,0.5);
INSERT INTO "measurement" VALUES(1,34,1,608.0);
INSERT INTO "measurement" VALUES(1,35,1,13388.0);
INSERT INTO "measurement" VALUES(1,36,1,768.0);
INSERT INTO "measurement" VALUES(1,37,1,13548.0);
INSERT INTO "measurement" VALUES(1,38,1,600600000.0);
INSERT INTO "measurement" VALUES(1,39,1,10944.0);
INSERT INTO "measurement" VALUES(1,40,1,1836.0);
INSERT INTO "measurement" VALUES(1,41,1,0.0);
INSERT INTO "measurement" VALUES(1,42,1,4700.0);
INSERT INTO "measurement" VALUES(1,43,1,9344.0);
INSERT INTO "measurement" VALUES(1,44,1,4880.0);
INSERT INTO "measurement" VALUES(1,45,1,9574.0);
INSERT INTO "measurement" VALUES(1,46,1,0.0);
INSERT INTO "measurement" VALUES(1,47,1,0.0);
INSERT INTO "measurement" VALUES(1,48,1,600.0);
INSERT INTO "measurement" VALUES(1,49,1,0.0);
INSERT INTO "measurement" VALUES(1,50,1,1.5);
INSERT INTO "measurement" VALUES(1,51,1,0.5);
INSERT INTO "measurement" VALUES(1,52,1,616.0);
INSERT INTO "measurement" VALUES(1,53,1,13396.0);
INSERT INTO "measurement" VALUES(1,54,1,776.0);
INSERT INTO "measurement" VALUES(1,55,1,13556.0);
INSERT INTO "measurement" VALUES(1,56,1,601200000.0);
INSERT INTO "measurement" VALUES(1,57,1,10944.0);
INSERT INTO "measurement" VALUES(1,58,1,1836.0);
INSERT INTO "measurement" VALUES(1,59,1,0.0);
INSERT INTO "measurement" VALUES(1,60,1,4700.0);
INSERT INTO "measurement" VALUES(1,61,1,9344.0);
INSERT INTO "measurement" VALUES(1,62,1,4880.0);
INSERT INTO "measurement" VALUES(1,63,1,9574.0);
INSERT INTO "measurement" VALUES(1,64,1,0.0);
INSERT INTO "measurement" VALUES(1,65,1,0.0);
INSERT INTO "measurement" VALUES(1,66,1,600.0);
INSERT INTO "measurement" VALUES(1,67,1,0.0);
INSERT INTO "measurement" VALUES(1,68,1,1.5);
INSERT INTO "measurement" VALUES(1,69,1,0.5);
INSERT INTO "measurement" VALUES(1,70,1,624.0);
INSERT INTO "measurement" VALUES(1,71,1,13404.0);
INSERT INTO "measurement" VALUES(1,72,1,784.0);
INSERT INTO "measurement" VALUES(1,73,1,13564.0);
INSERT INTO "measurement" VALUES(1,74,1,601800000.0);
INSERT INTO "measurement" VALUES(1,75,1,10944.0);
INSERT INTO "measurement" VALUES(1,76,1,1836.0);
INSERT INTO "measurement" VALUES(1,77,1,0.0);
INSERT INTO "measurement" VALUES(1,78,1,4700.0);
INSERT INTO "measurement" VALUES(1,79,1,9344.0);
INSERT INTO "measurement" VALUES(1,80,1,4880.0);
INSERT INTO "measurement" VALUES(1,81,1,9574.0);
INSERT INTO "measurement" VALUES(1,82,1,0.0);
INSERT INTO "measurement" VALUES(1,83,1,0.0);
INSERT INTO "measurement" VALUES(1,84,1,600.0);
INSERT INTO "measurement" VALUES(1,85,1,0.0);
INSERT INTO "measurement" VALUES(1,86,1,1.5);
INSERT INTO "measurement" VALUES(1,87,1,0.5);
INSERT INTO "measurement" VALUES(1,88,1,632.0);
INSERT INTO "measurement" VALUES(1,89,1,13412.0);
INSERT INTO "measurement" VALUES(1,90,1,792.0);
INSERT INTO "measurement" VALUES(1,91,1,13572.0);
INSERT INTO "measurement" VALUES(1,92,1,602400000.0);
INSERT INTO "measurement" VALUES(1,93,1,6.14946875000000048316e+01);
INSERT INTO "measurement" VALUES(1,94,1,0.1004);
INSERT INTO "measurement" VALUES(1,95,1,7.95168000000000116432e+05);
INSERT INTO "measurement" VALUES(1,96,1,16561.875);
INSERT INTO "measurement" VALUES(1,97,1,0.0);
INSERT INTO "measurement" VALUES(1,98,1,5.7234375);
INSERT INTO "measurement" VALUES(1,99,1,7.44791666666666692109e-03);
INSERT INTO "measurement" VALUES(1,100,1,589875.0);
INSERT INTO "measurement" VALUES(1,101,1,1.65618749999999970894e+05);
INSERT INTO "measurement" VALUES(1,102,1,2208541.5);
INSERT INTO "measurement" VALUES(1,103,1,1.06578124999999985784e+01);
INSERT INTO "measurement" VALUES(1,104,1,0.015671875);
INSERT INTO "measurement" VALUES(1,105,1,2.87735624999999941783e+05);
INSERT INTO "measurement" VALUES(1,106,1,38393.4375);
INSERT INTO "measurement" VALUES(1,107,1,4.51431450000000069862e+05);
INSERT INTO "measurement" VALUES(1,108,1,7.7676875);
INSERT INTO "measurement" VALUES(1,109,1,0.010855);
INSERT INTO "measurement" VALUES(1,110,1,4.51350899999999965062e+05);
INSERT INTO "measurement" VALUES(1,111,1,86949.84375);
INSERT INTO "measurement" VALUES(1,112,1,1418392.8);
INSERT INTO "measurement" VALUES(1,113,1,5.71897321428571459023e+00);
INSERT INTO "measurement" VALUES(1,114,1,7.44047619047619093052e-03);
INSERT INTO "measurement" VALUES(1,115,1,5.89285714285714318965e+05);
INSERT INTO "measurement" VALUES(1,116,1,1.65618749999999970894e+05);
INSERT INTO "measurement" VALUES(1,117,1,2.20871828571428591376e+06);
INSERT INTO "measurement" VALUES(1,118,1,6.14946875000000048316e+01);
INSERT INTO "measurement" VALUES(1,119,1,0.0);
INSERT INTO "measurement" VALUES(1,120,0,0.1);
INSERT INTO "measurement" VALUES(1,120,1,0.81);
INSERT INTO "measurement" VALUES(1,121,0,2.09999999999999964472e+00);
INSERT INTO "measurement" VALUES(1,121,1,6.79999999999999715782e-01);
CREATE TABLE revision (
	id INTEGER NOT NULL, 
	sha TEXT DEFAULT '' NOT NULL, 
	dirty INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT revision_once UNIQUE (sha, dirty)
);
INSERT INTO "revision" VALUES(1,'0123456789abcdef0123456789abcdef01234567',1);
CREATE TABLE run (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	experiment TEXT DEFAULT '' NOT NULL, 
	seed INTEGER DEFAULT '0' NOT NULL, 
	command TEXT DEFAULT '' NOT NULL, 
	rack TEXT DEFAULT '' NOT NULL, 
	started TEXT DEFAULT '' NOT NULL, 
	finished TEXT DEFAULT '' NOT NULL, 
	revision_id INTEGER NOT NULL, 
	failed_checks INTEGER DEFAULT '0' NOT NULL, 
	digest TEXT DEFAULT '' NOT NULL, 
	document TEXT DEFAULT '' NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name), 
	FOREIGN KEY(revision_id) REFERENCES revision (id)
);
INSERT INTO "run" VALUES(1,'demo-1','demo',1,'bench run demo','hosts/virtual.yaml','2026-01-02T03:04:05+00:00','2026-01-02T03:08:47+00:00',1,0,'b3b7f319597c65930d63d0783ffaa29766140310c1bbd70c0a85da3f453614ce','{"schema":1,"run":"demo-1","experiment":{"name":"demo","seed":1,"targets":{"accuracy":0.75,"central_gap_points":3.0}},"command":"bench run demo","started":"2026-01-02T03:04:05+00:00","finished":"2026-01-02T03:08:47+00:00","seed":1,"environment":{"python":"3.11.2","pyocd":"0.46.0","qemu":"QEMU emulator version 10.0.2","compiler":null,"revision":"0123456789abcdef0123456789abcdef01234567","dirty":true,"argv":["bench","run","demo"]},"rack":"hosts/virtual.yaml","boards":[{"name":"plus2","env":"netduinoplus2","core":"cortex-m4f","has_fpu":true,"ram_bytes":131072,"core_hz":168000000,"baud":115200,"physical":false,"energy_source":"ST DS8626 (STM32F405xx), tables of typical current in Run mode (code from flash, ART enabled) and in Sleep mode, all peripherals disabled, 168 MHz, 25 C; cycles per instruction: model, not from the data sheet","clients":["client-1"],"samples":1200},{"name":"h405","env":"olimex_stm32_h405","core":"cortex-m4f","has_fpu":true,"ram_bytes":131072,"core_hz":168000000,"baud":115200,"physical":false,"energy_source":"ST DS8626 (STM32F405xx), tables of typical current in Run mode (code from flash, ART enabled) and in Sleep mode, all peripherals disabled, 168 MHz, 25 C; cycles per instruction: model, not from the data sheet","clients":["client-2"],"samples":1200},{"name":"n2","env":"netduino2","core":"cortex-m3","has_fpu":false,"ram_bytes":131072,"core_hz":120000000,"baud":115200,"physical":false,"energy_source":"ST DS6329 (STM32F205xx), tables of typical current in Run mode (code from flash, ART enabled) and in Sleep mode, all peripherals disabled, 120 MHz, 25 C; cycles per instruction: model, not from the data sheet","clients":["client-3"],"samples":1200},{"name":"iot","env":"b_l475e_iot01a","core":"cortex-m4f","has_fpu":true,"ram_bytes":98304,"core_hz":80000000,"baud":115200,"physical":false,"energy_source":"ST DS10969 (STM32L475xx), tables of typical current in Run mode (code from flash, cache on, prefetch off) and in Sleep mode (flash on), range 1, 80 MHz, 25 C; cycles per instruction: model, not from the data sheet","clients":["client-4"],"samples":1200},{"name":"bit","env":"microbit","core":"cortex-m0","has_fpu":false,"ram_bytes":16384,"core_hz":16000000,"baud":115200,"physical":false,"energy_source":"Nordic nRF51822 PS v3.1, CPU current running from flash at 16 MHz; idle is the 1V2 regulator with the 16 MHz crystal running plus the UART at 115200 baud; cycles per instruction: model, not from the data sheet","clients":["client-5"],"samples":1200}],"variants":{"int8":{"program":"demo_int8","plan_id":"00112233aabbccdd","dtype":"int8","clients":{"client-1":{"board":"plus2","samples":1200},"client-2":{"board":"h405","samples":1200},"client-3":{"board":"n2","samples":1200},"client-4":{"board":"iot","samples":1200},"client-5":{"board":"bit","samples":1200}}},"float32":{"program":"demo_float32","plan_id":"ddccbbaa33221100","dtype":"float32"}},"summary":{"accuracy":{"int8":0.79}},"dropped":[{"event":"dropped","variant":"int8","round":3,"client":"client-5","reason":"no answer within 120 s"}],"checks":[{"name":"accuracy of int8","passed":true,"value":0.79,"limit":0.75,"detail":"0.79, at least 0.75"},{"name":"points of int8 behind central","passed":true,"value":2.0,"limit":3.0,"detail":"2, at most 3"}]}');
CREATE TABLE run_board (
	run_id INTEGER NOT NULL, 
	board_id INTEGER NOT NULL, 
	PRIMARY KEY (run_id, board_id), 
	FOREIGN KEY(run_id) REFERENCES run (id), 
	FOREIGN KEY(board_id) REFERENCES board (id)
)
 WITHOUT ROWID

;
INSERT INTO "run_board" VALUES(1,1);
INSERT INTO "run_board" VALUES(1,2);
INSERT INTO "run_board" VALUES(1,3);
INSERT INTO "run_board" VALUES(1,4);
INSERT INTO "run_board" VALUES(1,5);
CREATE TABLE run_build (
	run_id INTEGER NOT NULL, 
	variant TEXT DEFAULT '' NOT NULL, 
	build_id INTEGER NOT NULL, 
	PRIMARY KEY (run_id, variant), 
	FOREIGN KEY(run_id) REFERENCES run (id), 
	FOREIGN KEY(build_id) REFERENCES build (id)
)
 WITHOUT ROWID

;
INSERT INTO "run_build" VALUES(1,'float32',2);
INSERT INTO "run_build" VALUES(1,'int8',1);
CREATE TABLE series (
	id INTEGER NOT NULL, 
	variant TEXT DEFAULT '' NOT NULL, 
	board TEXT DEFAULT '' NOT NULL, 
	client TEXT DEFAULT '' NOT NULL, 
	phase TEXT DEFAULT '' NOT NULL, 
	metric TEXT DEFAULT '' NOT NULL, 
	kind TEXT DEFAULT '' NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT series_once UNIQUE (variant, board, client, phase, metric, kind)
);
INSERT INTO "series" VALUES(1,'int8','','','','accuracy','counted');
INSERT INTO "series" VALUES(2,'int8','','','','loss','counted');
INSERT INTO "series" VALUES(3,'int8','plus2','client-1','','sram_static','counted');
INSERT INTO "series" VALUES(4,'int8','plus2','client-1','','sram_arena','counted');
INSERT INTO "series" VALUES(5,'int8','plus2','client-1','','sram_federation','counted');
INSERT INTO "series" VALUES(6,'int8','plus2','client-1','','payload_down','counted');
INSERT INTO "series" VALUES(7,'int8','plus2','client-1','','payload_up','counted');
INSERT INTO "series" VALUES(8,'int8','plus2','client-1','','wire_down','counted');
INSERT INTO "series" VALUES(9,'int8','plus2','client-1','','wire_up','counted');
INSERT INTO "series" VALUES(10,'int8','plus2','client-1','','retransmitted_up','counted');
INSERT INTO "series" VALUES(11,'int8','plus2','client-1','','retransmitted_down','counted');
INSERT INTO "series" VALUES(12,'int8','plus2','client-1','','samples','counted');
INSERT INTO "series" VALUES(13,'int8','plus2','client-1','','saturated','counted');
INSERT INTO "series" VALUES(14,'int8','plus2','client-1','','local_loss','counted');
INSERT INTO "series" VALUES(15,'int8','plus2','client-1','','local_accuracy','counted');
INSERT INTO "series" VALUES(16,'int8','plus2','client-1','link','sram_stack_high_water','counted');
INSERT INTO "series" VALUES(17,'int8','plus2','client-1','link','sram_total','counted');
INSERT INTO "series" VALUES(18,'int8','plus2','client-1','train','sram_stack_high_water','counted');
INSERT INTO "series" VALUES(19,'int8','plus2','client-1','train','sram_total','counted');
INSERT INTO "series" VALUES(20,'int8','plus2','client-1','train','instructions','counted');
INSERT INTO "series" VALUES(21,'int8','h405','client-2','','sram_static','counted');
INSERT INTO "series" VALUES(22,'int8','h405','client-2','','sram_arena','counted');
INSERT INTO "series" VALUES(23,'int8','h405','client-2','','sram_federation','counted');
INSERT INTO "series" VALUES(24,'int8','h405','client-2','','payload_down','counted');
INSERT INTO "series" VALUES(25,'int8','h405','client-2','','payload_up','counted');
INSERT INTO "series" VALUES(26,'int8','h405','client-2','','wire_down','counted');
INSERT INTO "series" VALUES(27,'int8','h405','client-2','','wire_up','counted');
INSERT INTO "series" VALUES(28,'int8','h405','client-2','','retransmitted_up','counted');
INSERT INTO "series" VALUES(29,'int8','h405','client-2','','retransmitted_down','counted');
INSERT INTO "series" VALUES(30,'int8','h405','client-2','','samples','counted');
INSERT INTO "series" VALUES(31,'int8','h405','client-2','','saturated','counted');
INSERT INTO "series" VALUES(32,'int8','h405','client-2','','local_loss','counted');
INSERT INTO "series" VALUES(33,'int8','h405','client-2','','local_accuracy','counted');
INSERT INTO "series" VALUES(34,'int8','h405','client-2','link','sram_stack_high_water','counted');
INSERT INTO "series" VALUES(35,'int8','h405','client-2','link','sram_total','counted');
INSERT INTO "series" VALUES(36,'int8','h405','client-2','train','sram_stack_high_water','counted');
INSERT INTO "series" VALUES(37,'int8','h405','client-2','train','sram_total','counted');
INSERT INTO "series" VALUES(38,'int8','h405','client-2','train','instructions','counted');
INSERT INTO "series" VALUES(39,'int8','n2','client-3','','sram_static','counted');
INSERT INTO "series" VALUES(40,'int8','n2','client-3','','sram_arena','counted');
INSERT INTO "series" VALUES(41,'int8','n2','client-3','','sram_federation','counted');
INSERT INTO "series" VALUES(42,'int8','n2','client-3','','payload_down','counted');
INSERT INTO "series" VALUES(43,'int8','n2','client-3','','payload_up','counted');
INSERT INTO "series" VALUES(44,'int8','n2','client-3','','wire_down','counted');
INSERT INTO "series" VALUES(45,'int8','n2','client-3','','wire_up','counted');
INSERT INTO "series" VALUES(46,'int8','n2','client-3','','retransmitted_up','counted');
INSERT INTO "series" VALUES(47,'int8','n2','client-3','','retransmitted_down','counted');
INSERT INTO "series" VALUES(48,'int8','n2','client-3','','samples','counted');
INSERT INTO "series" VALUES(49,'int8','n2','client-3','','saturated','counted');
INSERT INTO "series" VALUES(50,'int8','n2','client-3','','local_loss','counted');
INSERT INTO "series" VALUES(51,'int8','n2','client-3','','local_accuracy','counted');
INSERT INTO "series" VALUES(52,'int8','n2','client-3','link','sram_stack_high_water','counted');
INSERT INTO "series" VALUES(53,'int8','n2','client-3','link','sram_total','counted');
INSERT INTO "series" VALUES(54,'int8','n2','client-3','train','sram_stack_high_water','counted');
INSERT INTO "series" VALUES(55,'int8','n2','client-3','train','sram_total','counted');
INSERT INTO "series" VALUES(56,'int8','n2','client-3','train','instructions','counted');
INSERT INTO "series" VALUES(57,'int8','iot','client-4','','sram_static','counted');
INSERT INTO "series" VALUES(58,'int8','iot','client-4','','sram_arena','counted');
INSERT INTO "series" VALUES(59,'int8','iot','client-4','','sram_federation','counted');
INSERT INTO "series" VALUES(60,'int8','iot','client-4','','payload_down','counted');
INSERT INTO "series" VALUES(61,'int8','iot','client-4','','payload_up','counted');
INSERT INTO "series" VALUES(62,'int8','iot','client-4','','wire_down','counted');
INSERT INTO "series" VALUES(63,'int8','iot','client-4','','wire_up','counted');
INSERT INTO "series" VALUES(64,'int8','iot','client-4','','retransmitted_up','counted');
INSERT INTO "series" VALUES(65,'int8','iot','client-4','','retransmitted_down','counted');
INSERT INTO "series" VALUES(66,'int8','iot','client-4','','samples','counted');
INSERT INTO "series" VALUES(67,'int8','iot','client-4','','saturated','counted');
INSERT INTO "series" VALUES(68,'int8','iot','client-4','','local_loss','counted');
INSERT INTO "series" VALUES(69,'int8','iot','client-4','','local_accuracy','counted');
INSERT INTO "series" VALUES(70,'int8','iot','client-4','link','sram_stack_high_water','counted');
INSERT INTO "series" VALUES(71,'int8','iot','client-4','link','sram_total','counted');
INSERT INTO "series" VALUES(72,'int8','iot','client-4','train','sram_stack_high_water','counted');
INSERT INTO "series" VALUES(73,'int8','iot','client-4','train','sram_total','counted');
INSERT INTO "series" VALUES(74,'int8','iot','client-4','train','instructions','counted');
INSERT INTO "series" VALUES(75,'int8','bit','client-5','','sram_static','counted');
INSERT INTO "series" VALUES(76,'int8','bit','client-5','','sram_arena','counted');
INSERT INTO "series" VALUES(77,'int8','bit','client-5','','sram_federation','counted');
INSERT INTO "series" VALUES(78,'int8','bit','client-5','','payload_down','counted');
INSERT INTO "series" VALUES(79,'int8','bit','client-5','','payload_up','counted');
INSERT INTO "series" VALUES(80,'int8','bit','client-5','','wire_down','counted');
INSERT INTO "series" VALUES(81,'int8','bit','client-5','','wire_up','counted');
INSERT INTO "series" VALUES(82,'int8','bit','client-5','','retransmitted_up','counted');
INSERT INTO "series" VALUES(83,'int8','bit','client-5','','retransmitted_down','counted');
INSERT INTO "series" VALUES(84,'int8','bit','client-5','','samples','counted');
INSERT INTO "series" VALUES(85,'int8','bit','client-5','','saturated','counted');
INSERT INTO "series" VALUES(86,'int8','bit','client-5','','local_loss','counted');
INSERT INTO "series" VALUES(87,'int8','bit','client-5','','local_accuracy','counted');
INSERT INTO "series" VALUES(88,'int8','bit','client-5','link','sram_stack_high_water','counted');
INSERT INTO "series" VALUES(89,'int8','bit','client-5','link','sram_total','counted');
INSERT INTO "series" VALUES(90,'int8','bit','client-5','train','sram_stack_high_water','counted');
INSERT INTO "series" VALUES(91,'int8','bit','client-5','train','sram_total','counted');
INSERT INTO "series" VALUES(92,'int8','bit','client-5','train','instructions','counted');
INSERT INTO "series" VALUES(93,'int8','bit','','','round_time','modelled');
INSERT INTO "series" VALUES(94,'int8','bit','','train','step_time','modelled');
INSERT INTO "series" VALUES(95,'int8','bit','','compute','energy','modelled');
INSERT INTO "series" VALUES(96,'int8','bit','','link','energy','modelled');
INSERT INTO "series" VALUES(97,'int8','bit','','idle','energy','modelled');
INSERT INTO "series" VALUES(98,'int8','h405','','','round_time','modelled');
INSERT INTO "series" VALUES(99,'int8','h405','','train','step_time','modelled');
INSERT INTO "series" VALUES(100,'int8','h405','','compute','energy','modelled');
INSERT INTO "series" VALUES(101,'int8','h405','','link','energy','modelled');
INSERT INTO "series" VALUES(102,'int8','h405','','idle','energy','modelled');
INSERT INTO "series" VALUES(103,'int8','iot','','','round_time','modelled');
INSERT INTO "series" VALUES(104,'int8','iot','','train','step_time','modelled');
INSERT INTO "series" VALUES(105,'int8','iot','','compute','energy','modelled');
INSERT INTO "series" VALUES(106,'int8','iot','','link','energy','modelled');
INSERT INTO "series" VALUES(107,'int8','iot','','idle','energy','modelled');
INSERT INTO "series" VALUES(108,'int8','n2','','','round_time','modelled');
INSERT INTO "series" VALUES(109,'int8','n2','','train','step_time','modelled');
INSERT INTO "series" VALUES(110,'int8','n2','','compute','energy','modelled');
INSERT INTO "series" VALUES(111,'int8','n2','','link','energy','modelled');
INSERT INTO "series" VALUES(112,'int8','n2','','idle','energy','modelled');
INSERT INTO "series" VALUES(113,'int8','plus2','','','round_time','modelled');
INSERT INTO "series" VALUES(114,'int8','plus2','','train','step_time','modelled');
INSERT INTO "series" VALUES(115,'int8','plus2','','compute','energy','modelled');
INSERT INTO "series" VALUES(116,'int8','plus2','','link','energy','modelled');
INSERT INTO "series" VALUES(117,'int8','plus2','','idle','energy','modelled');
INSERT INTO "series" VALUES(118,'int8','','','','round_time','modelled');
INSERT INTO "series" VALUES(119,'int8','','','','dropped','counted');
INSERT INTO "series" VALUES(120,'int8_central','','','','accuracy','counted');
INSERT INTO "series" VALUES(121,'int8_central','','','','loss','counted');
CREATE TABLE summary (
	trend_id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	value DOUBLE NOT NULL, 
	PRIMARY KEY (trend_id, run_id), 
	FOREIGN KEY(trend_id) REFERENCES trend (id), 
	FOREIGN KEY(run_id) REFERENCES run (id)
)
 WITHOUT ROWID

;
INSERT INTO "summary" VALUES(1,1,10944.0);
INSERT INTO "summary" VALUES(2,1,1836.0);
INSERT INTO "summary" VALUES(3,1,0.0);
INSERT INTO "summary" VALUES(4,1,600.0);
INSERT INTO "summary" VALUES(5,1,13380.0);
INSERT INTO "summary" VALUES(6,1,760.0);
INSERT INTO "summary" VALUES(7,1,13540.0);
INSERT INTO "summary" VALUES(8,1,10944.0);
INSERT INTO "summary" VALUES(9,1,1836.0);
INSERT INTO "summary" VALUES(10,1,0.0);
INSERT INTO "summary" VALUES(11,1,608.0);
INSERT INTO "summary" VALUES(12,1,13388.0);
INSERT INTO "summary" VALUES(13,1,768.0);
INSERT INTO "summary" VALUES(14,1,13548.0);
INSERT INTO "summary" VALUES(15,1,10944.0);
INSERT INTO "summary" VALUES(16,1,1836.0);
INSERT INTO "summary" VALUES(17,1,0.0);
INSERT INTO "summary" VALUES(18,1,616.0);
INSERT INTO "summary" VALUES(19,1,13396.0);
INSERT INTO "summary" VALUES(20,1,776.0);
INSERT INTO "summary" VALUES(21,1,13556.0);
INSERT INTO "summary" VALUES(22,1,10944.0);
INSERT INTO "summary" VALUES(23,1,1836.0);
INSERT INTO "summary" VALUES(24,1,0.0);
INSERT INTO "summary" VALUES(25,1,624.0);
INSERT INTO "summary" VALUES(26,1,13404.0);
INSERT INTO "summary" VALUES(27,1,784.0);
INSERT INTO "summary" VALUES(28,1,13564.0);
INSERT INTO "summary" VALUES(29,1,10944.0);
INSERT INTO "summary" VALUES(30,1,1836.0);
INSERT INTO "summary" VALUES(31,1,0.0);
INSERT INTO "summary" VALUES(32,1,632.0);
INSERT INTO "summary" VALUES(33,1,13412.0);
INSERT INTO "summary" VALUES(34,1,792.0);
INSERT INTO "summary" VALUES(35,1,13572.0);
INSERT INTO "summary" VALUES(36,1,1000000.0);
INSERT INTO "summary" VALUES(37,1,1001000.0);
INSERT INTO "summary" VALUES(38,1,1002000.0);
INSERT INTO "summary" VALUES(39,1,1003000.0);
INSERT INTO "summary" VALUES(40,1,1004000.0);
INSERT INTO "summary" VALUES(41,1,0.79);
INSERT INTO "summary" VALUES(42,1,7.1999999999999975131e-01);
INSERT INTO "summary" VALUES(43,1,1.5);
INSERT INTO "summary" VALUES(44,1,0.5);
INSERT INTO "summary" VALUES(45,1,1.5);
INSERT INTO "summary" VALUES(46,1,0.5);
INSERT INTO "summary" VALUES(47,1,1.5);
INSERT INTO "summary" VALUES(48,1,0.5);
INSERT INTO "summary" VALUES(49,1,1.5);
INSERT INTO "summary" VALUES(50,1,0.5);
INSERT INTO "summary" VALUES(51,1,1.5);
INSERT INTO "summary" VALUES(52,1,0.5);
INSERT INTO "summary" VALUES(53,1,0.81);
INSERT INTO "summary" VALUES(54,1,6.79999999999999715782e-01);
INSERT INTO "summary" VALUES(55,1,0.0);
INSERT INTO "summary" VALUES(56,1,0.0);
INSERT INTO "summary" VALUES(57,1,0.0);
INSERT INTO "summary" VALUES(58,1,0.0);
INSERT INTO "summary" VALUES(59,1,0.0);
INSERT INTO "summary" VALUES(60,1,0.0);
INSERT INTO "summary" VALUES(61,1,0.0);
INSERT INTO "summary" VALUES(62,1,0.0);
INSERT INTO "summary" VALUES(63,1,0.0);
INSERT INTO "summary" VALUES(64,1,0.0);
INSERT INTO "summary" VALUES(65,1,0.0);
INSERT INTO "summary" VALUES(66,1,0.0);
INSERT INTO "summary" VALUES(67,1,0.0);
INSERT INTO "summary" VALUES(68,1,0.0);
INSERT INTO "summary" VALUES(69,1,0.0);
INSERT INTO "summary" VALUES(70,1,0.0);
INSERT INTO "summary" VALUES(71,1,0.1004);
INSERT INTO "summary" VALUES(72,1,7.44791666666666692109e-03);
INSERT INTO "summary" VALUES(73,1,0.015671875);
INSERT INTO "summary" VALUES(74,1,0.010855);
INSERT INTO "summary" VALUES(75,1,7.44047619047619093052e-03);
INSERT INTO "summary" VALUES(76,1,4700.0);
INSERT INTO "summary" VALUES(77,1,9344.0);
INSERT INTO "summary" VALUES(78,1,4880.0);
INSERT INTO "summary" VALUES(79,1,9574.0);
INSERT INTO "summary" VALUES(80,1,600.0);
INSERT INTO "summary" VALUES(81,1,4700.0);
INSERT INTO "summary" VALUES(82,1,9344.0);
INSERT INTO "summary" VALUES(83,1,4880.0);
INSERT INTO "summary" VALUES(84,1,9574.0);
INSERT INTO "summary" VALUES(85,1,600.0);
INSERT INTO "summary" VALUES(86,1,4700.0);
INSERT INTO "summary" VALUES(87,1,9344.0);
INSERT INTO "summary" VALUES(88,1,4880.0);
INSERT INTO "summary" VALUES(89,1,9574.0);
INSERT INTO "summary" VALUES(90,1,600.0);
INSERT INTO "summary" VALUES(91,1,4700.0);
INSERT INTO "summary" VALUES(92,1,9344.0);
INSERT INTO "summary" VALUES(93,1,4880.0);
INSERT INTO "summary" VALUES(94,1,9574.0);
INSERT INTO "summary" VALUES(95,1,600.0);
INSERT INTO "summary" VALUES(96,1,4700.0);
INSERT INTO "summary" VALUES(97,1,9344.0);
INSERT INTO "summary" VALUES(98,1,4880.0);
INSERT INTO "summary" VALUES(99,1,9574.0);
INSERT INTO "summary" VALUES(100,1,600.0);
INSERT INTO "summary" VALUES(101,1,6.14946875000000048316e+01);
INSERT INTO "summary" VALUES(102,1,8.11729875000000116423e+05);
INSERT INTO "summary" VALUES(103,1,5.7234375);
INSERT INTO "summary" VALUES(104,1,2964035.25);
INSERT INTO "summary" VALUES(105,1,1.06578124999999985784e+01);
INSERT INTO "summary" VALUES(106,1,777560.5125);
INSERT INTO "summary" VALUES(107,1,7.7676875);
INSERT INTO "summary" VALUES(108,1,1956693.54375);
INSERT INTO "summary" VALUES(109,1,5.71897321428571459023e+00);
INSERT INTO "summary" VALUES(110,1,2963622.75);
INSERT INTO "summary" VALUES(111,1,6.14946875000000048316e+01);
INSERT INTO "summary" VALUES(112,1,7.95168000000000116432e+05);
INSERT INTO "summary" VALUES(113,1,16561.875);
INSERT INTO "summary" VALUES(114,1,0.0);
INSERT INTO "summary" VALUES(115,1,589875.0);
INSERT INTO "summary" VALUES(116,1,1.65618749999999970894e+05);
INSERT INTO "summary" VALUES(117,1,2208541.5);
INSERT INTO "summary" VALUES(118,1,2.87735624999999941783e+05);
INSERT INTO "summary" VALUES(119,1,38393.4375);
INSERT INTO "summary" VALUES(120,1,4.51431450000000069862e+05);
INSERT INTO "summary" VALUES(121,1,4.51350899999999965062e+05);
INSERT INTO "summary" VALUES(122,1,86949.84375);
INSERT INTO "summary" VALUES(123,1,1418392.8);
INSERT INTO "summary" VALUES(124,1,5.89285714285714318965e+05);
INSERT INTO "summary" VALUES(125,1,1.65618749999999970894e+05);
INSERT INTO "summary" VALUES(126,1,2.20871828571428591376e+06);
CREATE TABLE trend (
	id INTEGER NOT NULL, 
	experiment TEXT DEFAULT '' NOT NULL, 
	variant TEXT DEFAULT '' NOT NULL, 
	env TEXT DEFAULT '' NOT NULL, 
	phase TEXT DEFAULT '' NOT NULL, 
	metric TEXT DEFAULT '' NOT NULL, 
	kind TEXT DEFAULT '' NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT trend_once UNIQUE (experiment, variant, env, phase, metric, kind)
);
INSERT INTO "trend" VALUES(1,'demo','int8','netduinoplus2','','sram_static','counted');
INSERT INTO "trend" VALUES(2,'demo','int8','netduinoplus2','','sram_arena','counted');
INSERT INTO "trend" VALUES(3,'demo','int8','netduinoplus2','','sram_federation','counted');
INSERT INTO "trend" VALUES(4,'demo','int8','netduinoplus2','link','sram_stack_high_water','counted');
INSERT INTO "trend" VALUES(5,'demo','int8','netduinoplus2','link','sram_total','counted');
INSERT INTO "trend" VALUES(6,'demo','int8','netduinoplus2','train','sram_stack_high_water','counted');
INSERT INTO "trend" VALUES(7,'demo','int8','netduinoplus2','train','sram_total','counted');
INSERT INTO "trend" VALUES(8,'demo','int8','olimex_stm32_h405','','sram_static','counted');
INSERT INTO "trend" VALUES(9,'demo','int8','olimex_stm32_h405','','sram_arena','counted');
INSERT INTO "trend" VALUES(10,'demo','int8','olimex_stm32_h405','','sram_federation','counted');
INSERT INTO "trend" VALUES(11,'demo','int8','olimex_stm32_h405','link','sram_stack_high_water','counted');
INSERT INTO "trend" VALUES(12,'demo','int8','olimex_stm32_h405','link','sram_total','counted');
INSERT INTO "trend" VALUES(13,'demo','int8','olimex_stm32_h405','train','sram_stack_high_water','counted');
INSERT INTO "trend" VALUES(14,'demo','int8','olimex_stm32_h405','train','sram_total','counted');
INSERT INTO "trend" VALUES(15,'demo','int8','netduino2','','sram_static','counted');
INSERT INTO "trend" VALUES(16,'demo','int8','netduino2','','sram_arena','counted');
INSERT INTO "trend" VALUES(17,'demo','int8','netduino2','','sram_federation','counted');
INSERT INTO "trend" VALUES(18,'demo','int8','netduino2','link','sram_stack_high_water','counted');
INSERT INTO "trend" VALUES(19,'demo','int8','netduino2','link','sram_total','counted');
INSERT INTO "trend" VALUES(20,'demo','int8','netduino2','train','sram_stack_high_water','counted');
INSERT INTO "trend" VALUES(21,'demo','int8','netduino2','train','sram_total','counted');
INSERT INTO "trend" VALUES(22,'demo','int8','b_l475e_iot01a','','sram_static','counted');
INSERT INTO "trend" VALUES(23,'demo','int8','b_l475e_iot01a','','sram_arena','counted');
INSERT INTO "trend" VALUES(24,'demo','int8','b_l475e_iot01a','','sram_federation','counted');
INSERT INTO "trend" VALUES(25,'demo','int8','b_l475e_iot01a','link','sram_stack_high_water','counted');
INSERT INTO "trend" VALUES(26,'demo','int8','b_l475e_iot01a','link','sram_total','counted');
INSERT INTO "trend" VALUES(27,'demo','int8','b_l475e_iot01a','train','sram_stack_high_water','counted');
INSERT INTO "trend" VALUES(28,'demo','int8','b_l475e_iot01a','train','sram_total','counted');
INSERT INTO "trend" VALUES(29,'demo','int8','microbit','','sram_static','counted');
INSERT INTO "trend" VALUES(30,'demo','int8','microbit','','sram_arena','counted');
INSERT INTO "trend" VALUES(31,'demo','int8','microbit','','sram_federation','counted');
INSERT INTO "trend" VALUES(32,'demo','int8','microbit','link','sram_stack_high_water','counted');
INSERT INTO "trend" VALUES(33,'demo','int8','microbit','link','sram_total','counted');
INSERT INTO "trend" VALUES(34,'demo','int8','microbit','train','sram_stack_high_water','counted');
INSERT INTO "trend" VALUES(35,'demo','int8','microbit','train','sram_total','counted');
INSERT INTO "trend" VALUES(36,'demo','int8','netduinoplus2','','instructions','counted');
INSERT INTO "trend" VALUES(37,'demo','int8','olimex_stm32_h405','','instructions','counted');
INSERT INTO "trend" VALUES(38,'demo','int8','netduino2','','instructions','counted');
INSERT INTO "trend" VALUES(39,'demo','int8','b_l475e_iot01a','','instructions','counted');
INSERT INTO "trend" VALUES(40,'demo','int8','microbit','','instructions','counted');
INSERT INTO "trend" VALUES(41,'demo','int8','','','accuracy','counted');
INSERT INTO "trend" VALUES(42,'demo','int8','','','loss','counted');
INSERT INTO "trend" VALUES(43,'demo','int8','netduinoplus2','','local_loss','counted');
INSERT INTO "trend" VALUES(44,'demo','int8','netduinoplus2','','local_accuracy','counted');
INSERT INTO "trend" VALUES(45,'demo','int8','olimex_stm32_h405','','local_loss','counted');
INSERT INTO "trend" VALUES(46,'demo','int8','olimex_stm32_h405','','local_accuracy','counted');
INSERT INTO "trend" VALUES(47,'demo','int8','netduino2','','local_loss','counted');
INSERT INTO "trend" VALUES(48,'demo','int8','netduino2','','local_accuracy','counted');
INSERT INTO "trend" VALUES(49,'demo','int8','b_l475e_iot01a','','local_loss','counted');
INSERT INTO "trend" VALUES(50,'demo','int8','b_l475e_iot01a','','local_accuracy','counted');
INSERT INTO "trend" VALUES(51,'demo','int8','microbit','','local_loss','counted');
INSERT INTO "trend" VALUES(52,'demo','int8','microbit','','local_accuracy','counted');
INSERT INTO "trend" VALUES(53,'demo','int8_central','','','accuracy','counted');
INSERT INTO "trend" VALUES(54,'demo','int8_central','','','loss','counted');
INSERT INTO "trend" VALUES(55,'demo','int8','netduinoplus2','','retransmitted_up','counted');
INSERT INTO "trend" VALUES(56,'demo','int8','netduinoplus2','','retransmitted_down','counted');
INSERT INTO "trend" VALUES(57,'demo','int8','netduinoplus2','','saturated','counted');
INSERT INTO "trend" VALUES(58,'demo','int8','olimex_stm32_h405','','retransmitted_up','counted');
INSERT INTO "trend" VALUES(59,'demo','int8','olimex_stm32_h405','','retransmitted_down','counted');
INSERT INTO "trend" VALUES(60,'demo','int8','olimex_stm32_h405','','saturated','counted');
INSERT INTO "trend" VALUES(61,'demo','int8','netduino2','','retransmitted_up','counted');
INSERT INTO "trend" VALUES(62,'demo','int8','netduino2','','retransmitted_down','counted');
INSERT INTO "trend" VALUES(63,'demo','int8','netduino2','','saturated','counted');
INSERT INTO "trend" VALUES(64,'demo','int8','b_l475e_iot01a','','retransmitted_up','counted');
INSERT INTO "trend" VALUES(65,'demo','int8','b_l475e_iot01a','','retransmitted_down','counted');
INSERT INTO "trend" VALUES(66,'demo','int8','b_l475e_iot01a','','saturated','counted');
INSERT INTO "trend" VALUES(67,'demo','int8','microbit','','retransmitted_up','counted');
INSERT INTO "trend" VALUES(68,'demo','int8','microbit','','retransmitted_down','counted');
INSERT INTO "trend" VALUES(69,'demo','int8','microbit','','saturated','counted');
INSERT INTO "trend" VALUES(70,'demo','int8','','','dropped','counted');
INSERT INTO "trend" VALUES(71,'demo','int8','microbit','','step_time','modelled');
INSERT INTO "trend" VALUES(72,'demo','int8','olimex_stm32_h405','','step_time','modelled');
INSERT INTO "trend" VALUES(73,'demo','int8','b_l475e_iot01a','','step_time','modelled');
INSERT INTO "trend" VALUES(74,'demo','int8','netduino2','','step_time','modelled');
INSERT INTO "trend" VALUES(75,'demo','int8','netduinoplus2','','step_time','modelled');
INSERT INTO "trend" VALUES(76,'demo','int8','netduinoplus2','','payload_down','counted');
INSERT INTO "trend" VALUES(77,'demo','int8','netduinoplus2','','payload_up','counted');
INSERT INTO "trend" VALUES(78,'demo','int8','netduinoplus2','','wire_down','counted');
INSERT INTO "trend" VALUES(79,'demo','int8','netduinoplus2','','wire_up','counted');
INSERT INTO "trend" VALUES(80,'demo','int8','netduinoplus2','','samples','counted');
INSERT INTO "trend" VALUES(81,'demo','int8','olimex_stm32_h405','','payload_down','counted');
INSERT INTO "trend" VALUES(82,'demo','int8','olimex_stm32_h405','','payload_up','counted');
INSERT INTO "trend" VALUES(83,'demo','int8','olimex_stm32_h405','','wire_down','counted');
INSERT INTO "trend" VALUES(84,'demo','int8','olimex_stm32_h405','','wire_up','counted');
INSERT INTO "trend" VALUES(85,'demo','int8','olimex_stm32_h405','','samples','counted');
INSERT INTO "trend" VALUES(86,'demo','int8','netduino2','','payload_down','counted');
INSERT INTO "trend" VALUES(87,'demo','int8','netduino2','','payload_up','counted');
INSERT INTO "trend" VALUES(88,'demo','int8','netduino2','','wire_down','counted');
INSERT INTO "trend" VALUES(89,'demo','int8','netduino2','','wire_up','counted');
INSERT INTO "trend" VALUES(90,'demo','int8','netduino2','','samples','counted');
INSERT INTO "trend" VALUES(91,'demo','int8','b_l475e_iot01a','','payload_down','counted');
INSERT INTO "trend" VALUES(92,'demo','int8','b_l475e_iot01a','','payload_up','counted');
INSERT INTO "trend" VALUES(93,'demo','int8','b_l475e_iot01a','','wire_down','counted');
INSERT INTO "trend" VALUES(94,'demo','int8','b_l475e_iot01a','','wire_up','counted');
INSERT INTO "trend" VALUES(95,'demo','int8','b_l475e_iot01a','','samples','counted');
INSERT INTO "trend" VALUES(96,'demo','int8','microbit','','payload_down','counted');
INSERT INTO "trend" VALUES(97,'demo','int8','microbit','','payload_up','counted');
INSERT INTO "trend" VALUES(98,'demo','int8','microbit','','wire_down','counted');
INSERT INTO "trend" VALUES(99,'demo','int8','microbit','','wire_up','counted');
INSERT INTO "trend" VALUES(100,'demo','int8','microbit','','samples','counted');
INSERT INTO "trend" VALUES(101,'demo','int8','microbit','','round_time','modelled');
INSERT INTO "trend" VALUES(102,'demo','int8','microbit','','energy','modelled');
INSERT INTO "trend" VALUES(103,'demo','int8','olimex_stm32_h405','','round_time','modelled');
INSERT INTO "trend" VALUES(104,'demo','int8','olimex_stm32_h405','','energy','modelled');
INSERT INTO "trend" VALUES(105,'demo','int8','b_l475e_iot01a','','round_time','modelled');
INSERT INTO "trend" VALUES(106,'demo','int8','b_l475e_iot01a','','energy','modelled');
INSERT INTO "trend" VALUES(107,'demo','int8','netduino2','','round_time','modelled');
INSERT INTO "trend" VALUES(108,'demo','int8','netduino2','','energy','modelled');
INSERT INTO "trend" VALUES(109,'demo','int8','netduinoplus2','','round_time','modelled');
INSERT INTO "trend" VALUES(110,'demo','int8','netduinoplus2','','energy','modelled');
INSERT INTO "trend" VALUES(111,'demo','int8','','','round_time','modelled');
INSERT INTO "trend" VALUES(112,'demo','int8','microbit','compute','energy','modelled');
INSERT INTO "trend" VALUES(113,'demo','int8','microbit','link','energy','modelled');
INSERT INTO "trend" VALUES(114,'demo','int8','microbit','idle','energy','modelled');
INSERT INTO "trend" VALUES(115,'demo','int8','olimex_stm32_h405','compute','energy','modelled');
INSERT INTO "trend" VALUES(116,'demo','int8','olimex_stm32_h405','link','energy','modelled');
INSERT INTO "trend" VALUES(117,'demo','int8','olimex_stm32_h405','idle','energy','modelled');
INSERT INTO "trend" VALUES(118,'demo','int8','b_l475e_iot01a','compute','energy','modelled');
INSERT INTO "trend" VALUES(119,'demo','int8','b_l475e_iot01a','link','energy','modelled');
INSERT INTO "trend" VALUES(120,'demo','int8','b_l475e_iot01a','idle','energy','modelled');
INSERT INTO "trend" VALUES(121,'demo','int8','netduino2','compute','energy','modelled');
INSERT INTO "trend" VALUES(122,'demo','int8','netduino2','link','energy','modelled');
INSERT INTO "trend" VALUES(123,'demo','int8','netduino2','idle','energy','modelled');
INSERT INTO "trend" VALUES(124,'demo','int8','netduinoplus2','compute','energy','modelled');
INSERT INTO "trend" VALUES(125,'demo','int8','netduinoplus2','link','energy','modelled');
INSERT INTO "trend" VALUES(126,'demo','int8','netduinoplus2','idle','energy','modelled');
CREATE INDEX run_of_experiment ON run (experiment, started);
CREATE INDEX summary_of_run ON summary (run_id);
COMMIT;
